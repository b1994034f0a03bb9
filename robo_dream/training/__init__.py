"""Episodes in, checkpoint out: the representation first, then the dream on its latents."""
