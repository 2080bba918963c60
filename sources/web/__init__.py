"""Read from hosts and from the Hub."""
