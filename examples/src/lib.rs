//! Programs that show X-Ray for Rust at work.
