//! Who goes first among one merchant's due sends. Pure.

/// How many payments go before a refund that is due has its turn: at least one send in ten is a refund's.
const PAYMENTS_BEFORE_REFUND: u32 = 9;

/// How many payments went since the last refund.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turns {
    payments: u32,
}

impl Turns {
    /// At most `limit` of them: payments that were not sent yet, then those that were, and refunds in between.
    /// Each list is in its own order already.
    pub fn next<T>(
        &mut self,
        first: impl IntoIterator<Item = T>,
        again: impl IntoIterator<Item = T>,
        refunds: impl IntoIterator<Item = T>,
        limit: usize,
    ) -> Vec<T> {
        let mut payments = first.into_iter().chain(again).peekable();
        let mut refunds = refunds.into_iter();
        let mut picked = Vec::new();
        while picked.len() < limit {
            let refunds_turn = self.payments >= PAYMENTS_BEFORE_REFUND || payments.peek().is_none();
            let refund = if refunds_turn { refunds.next() } else { None };
            match refund.map(|refund| (refund, 0)).or_else(|| Some((payments.next()?, self.payments + 1))) {
                Some((one, since)) => {
                    self.payments = since.min(PAYMENTS_BEFORE_REFUND);
                    picked.push(one);
                }
                None => break,
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(turns: &mut Turns, first: usize, again: usize, refunds: usize, limit: usize) -> String {
        let of = |letter, n| std::iter::repeat_n(letter, n);
        turns.next(of('f', first), of('a', again), of('r', refunds), limit).into_iter().collect()
    }

    #[test]
    fn one_in_ten_is_a_refund_and_nobody_waits_for_who_is_not_there() {
        let mut turns = Turns::default();
        assert_eq!(picked(&mut turns, 20, 5, 3, 25), "fffffffffrfffffffffrffaaa");
        assert_eq!(picked(&mut turns, 0, 2, 2, 10), "aarr");
        assert_eq!(picked(&mut turns, 30, 0, 0, 12), "ffffffffffff");
        assert_eq!(picked(&mut turns, 5, 0, 5, 1), "r", "its turn had come");
        assert_eq!(picked(&mut turns, 0, 0, 3, 2), "rr");
        assert_eq!(picked(&mut turns, 3, 3, 3, 0), "");
    }

    #[test]
    fn one_at_a_time_too() {
        let mut turns = Turns::default();
        let all: String = (0..20).map(|_| picked(&mut turns, 9, 9, 9, 1)).collect();
        assert_eq!(all, "fffffffffrfffffffffr");
    }
}
