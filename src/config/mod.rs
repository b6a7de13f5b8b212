//! Configuration: the nats.conf language, the option table and their layers.
