//! Every metric, in one place.
