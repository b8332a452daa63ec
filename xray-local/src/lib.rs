//! A local stand-in for the AWS X-Ray daemon: strict test daemon and trace printer.
