"""A sweep: many runs planned, estimated, carried out, repeated where they fail, and shown."""
