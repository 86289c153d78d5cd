//! What the small programs share.
