"""Putting an adapter to use: labels, logits, embeddings and scores of recordings."""
