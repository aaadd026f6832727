"""A UDP port: its peers are streams, its datagrams are packets."""
