//! Nothing of its own: this package exists for its tests.
