"""Injections: what a peer orders, which packets it strikes, and what becomes of their answers. PURE."""
