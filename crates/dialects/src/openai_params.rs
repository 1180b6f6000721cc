//! Parameters that Chat and the legacy completions share.

use model::{Failure, Loss};
use serde_json::value::RawValue;

use crate::lenient::{Count, FieldProblem, PathStyle, TextOr};
use crate::uncarried::Uncarried;

const STYLE: PathStyle = PathStyle::Brackets;

/// The most replies that one call may ask for; each is a sampling of its own.
const MAX_CHOICES: u64 = 8;

/// What a model is told about how it chooses its words, and MCP has no field for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordChoice<'a> {
    pub(crate) top_p: Option<f64>,
    pub(crate) frequency_penalty: Option<f64>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) logit_bias: Option<&'a RawValue>,
}

impl WordChoice<'_> {
    /// Leaves out what does not have the value that changes nothing.
    pub(crate) fn leave_out(self, uncarried: &mut Uncarried) -> Result<(), Failure> {
        #[expect(clippy::float_cmp, reason = "only the exact default changes nothing")]
        let differs =
            |value: Option<f64>, default: f64| value.is_some_and(|value| value != default);
        let bias = self.logit_bias.is_some_and(|raw| {
            let empty = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'{' | b'}');
            !raw.get().bytes().all(empty)
        });
        for (loss, path, lost) in [
            (Loss::TopP, "top_p", differs(self.top_p, 1.0)),
            (Loss::FrequencyPenalty, "frequency_penalty", differs(self.frequency_penalty, 0.0)),
            (Loss::PresencePenalty, "presence_penalty", differs(self.presence_penalty, 0.0)),
            (Loss::LogitBias, "logit_bias", bias),
        ] {
            if lost {
                uncarried.leave_out(loss, || path.to_owned())?;
            }
        }
        Ok(())
    }
}

/// Reads the bound of tokens that stands at `path`.
pub(crate) fn read_bound(
    bound: Option<Count>,
    path: &str,
    uncarried: &mut Uncarried,
) -> Result<Option<u64>, Failure> {
    let Some(bound) = bound else { return Ok(None) };
    let refuse = || STYLE.refuse(FieldProblem::BadValue, path, "expected an integer of at least 1");
    if bound.0 == 0 {
        uncarried.forbid(Loss::NoTokens, refuse)?;
    }
    bound.within(0, u64::MAX).map(Some).ok_or_else(refuse)
}

/// Reads how many replies are asked for.
pub(crate) fn read_choices(
    n: Option<Count>,
    uncarried: &mut Uncarried,
) -> Result<Option<u8>, Failure> {
    let Some(n) = n else { return Ok(None) };
    let refuse = || {
        let why = format!("expected an integer from 1 to {MAX_CHOICES}");
        STYLE.refuse(FieldProblem::BadValue, "n", &why)
    };
    let Some(asked) = n.within(1, u64::MAX) else { return Err(refuse()) };
    if asked > MAX_CHOICES {
        uncarried.forbid(Loss::Choices, refuse)?;
    }
    Ok(u8::try_from(asked.min(MAX_CHOICES)).ok())
}

/// Reads a temperature.
pub(crate) fn read_temperature(value: Option<f64>) -> Result<Option<f64>, Failure> {
    if value.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        let why = "expected a number from 0 to 2";
        return Err(STYLE.refuse(FieldProblem::BadValue, "temperature", why));
    }
    Ok(value)
}

/// Reads stop sequences; empty ones would stop at once.
pub(crate) fn read_stops(stop: Option<TextOr<String>>) -> Vec<String> {
    let mut stops = match stop {
        None => Vec::new(),
        Some(TextOr::Text(stop)) => vec![stop],
        Some(TextOr::Items(stops)) => stops,
    };
    stops.retain(|stop| !stop.is_empty());
    stops
}
