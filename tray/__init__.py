"""A face that talks only to `daemon.client`. Nothing of it is built yet."""
