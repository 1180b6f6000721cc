//! Numbers as text, written without the machinery of formats: on the road of a call there are many.

/// The decimal digits of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: [u8; 20],
    from: usize,
}

impl Decimal {
    /// Writes a number.
    pub fn new(number: u64) -> Self {
        let mut digits = [0; 20];
        let mut from = digits.len();
        let mut rest = number;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (rest % 10) as u8;
            from -= 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        Self { digits, from }
    }

    /// The digits, the first one first.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.from..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn numbers_are_written_as_everywhere() {
        let tens = (0..20).map(|zeros| 10_u64.pow(zeros));
        for number in tens.flat_map(|ten| [ten - 1, ten, ten + 1]).chain([u64::MAX]) {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
