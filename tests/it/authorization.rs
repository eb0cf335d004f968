//! Who may do what, driven by the document: a new operation is covered the minute it exists.
