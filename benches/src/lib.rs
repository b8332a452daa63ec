//! What recording costs, beside its peers.
