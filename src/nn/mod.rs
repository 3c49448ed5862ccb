//! Building blocks of neural models that more than one subcommand uses.

pub mod init;
