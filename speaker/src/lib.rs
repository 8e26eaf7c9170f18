//! The speaker: announces service addresses from every node.
