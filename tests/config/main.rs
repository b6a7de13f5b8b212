//! Tests of the configuration and the command line.
//!
//! With `MIDGE_NATS_SERVER` set to the path of nats-server 2.15.1, the tables are put to it as well.

mod language;
mod options;
mod oracle;
