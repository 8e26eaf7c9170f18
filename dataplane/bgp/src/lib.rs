//! BGP wire format, session state machine and Adj-RIB-Out, sans-IO.
