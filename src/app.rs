//! The composition root: configuration → edges → roles.
