"""The numbers of the workers, asked for before the admin port reads them."""
