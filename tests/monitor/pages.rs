//! What pages of Midge show besides.
