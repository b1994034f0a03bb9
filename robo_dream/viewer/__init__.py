"""Looking at a run afterwards or while it lasts: the page and its server, pictures, video, exports, and what-if."""
