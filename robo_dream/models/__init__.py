"""The action-conditioned latent video model: pictures to latent, latent and action to next latent, latent to pictures."""
