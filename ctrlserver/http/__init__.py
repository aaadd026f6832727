"""What the server shows by HTTP: to monitors, to Prometheus, to browsers. Nothing is changed this way."""
