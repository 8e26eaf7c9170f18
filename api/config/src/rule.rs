//! The rules by which objects are refused or warned of, by name.

use std::fmt;

macro_rules! rules {
    ($($variant:ident $id:literal)*) => {
        /// Names a rule of `docs/validation.md`; the crate `metallb-rules` says what it means and shows it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the table of rules describes each")]
        pub enum Rule {
            $($variant,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as the documents write it, `P-4` for instance.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }
        }
    };
}

// Names of upstream's behaviour: N, S, P, AP, L, A, B, C, F, O. Ours: W where upstream is weak, M for the rules that
// the product promises in every back-end, K for what only our MetalLB resource can say, D for what is left behind.
rules! {
    N1 "N-1"
    S1 "S-1" S2 "S-2" S3 "S-3" S4 "S-4"
    P1 "P-1" P2 "P-2" P3 "P-3" P4 "P-4" P6 "P-6" P8 "P-8"
    Ap2 "AP-2" Ap3 "AP-3" Ap4 "AP-4" Ap5 "AP-5" Ap6 "AP-6" Ap7 "AP-7" Ap8 "AP-8" Ap9 "AP-9" Ap10 "AP-10" Ap11 "AP-11"
    L1 "L-1" L2 "L-2" L3 "L-3"
    A1 "A-1" A2 "A-2" A3 "A-3" A4 "A-4" A5 "A-5" A6 "A-6" A7 "A-7" A8 "A-8" A10 "A-10" A12 "A-12"
    B1 "B-1" B2 "B-2" B3 "B-3" B4 "B-4" B5 "B-5" B6 "B-6" B7 "B-7" B9 "B-9" B10 "B-10" B11 "B-11" B13 "B-13" B14 "B-14"
    B20 "B-20" B21 "B-21" B22 "B-22" B23 "B-23" B30 "B-30" B31 "B-31" B32 "B-32"
    C1 "C-1" C2 "C-2" C3 "C-3"
    F1 "F-1" F2 "F-2" F3 "F-3" F4 "F-4"
    O1 "O-1" O2 "O-2" O3 "O-3" O4 "O-4" O5 "O-5" O7 "O-7" O8 "O-8" O9 "O-9"
    K1 "K-1" K2 "K-2" K3 "K-3" K4 "K-4" K5 "K-5" K6 "K-6" K7 "K-7" K8 "K-8" K9 "K-9" K10 "K-10" K11 "K-11" K12 "K-12"
    K14 "K-14" K15 "K-15" K16 "K-16"
    M1 "M-1" M2 "M-2" M3 "M-3"
    W1 "W-1" W10 "W-10" W12 "W-12" W14 "W-14" W16 "W-16" W17 "W-17" W18 "W-18" W19 "W-19" W20 "W-20" W21 "W-21"
    W22 "W-22" W25 "W-25" W26 "W-26" W29 "W-29" W39 "W-39"
    D1 "D-1" D2 "D-2" D3 "D-3" D4 "D-4" D5 "D-5"
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
