"""How our programs reach a server: target strings, connecting, the admin client."""
