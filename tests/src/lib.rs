//! Tests that need sockets, processes or whole runtimes.
