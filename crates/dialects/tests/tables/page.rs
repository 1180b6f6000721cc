//! Reads the tables of a page.

/// What a row says becomes of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It reaches the host, or the bridge does it itself.
    Carried,
    /// It has no effect.
    Ignored,
    /// It is named as this loss; without a name as the one of the parameter's own name.
    Loss(Option<String>),
    /// It is a 400.
    Refused,
}

/// A row of the table of parameters.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its first cell.
    pub(crate) cell: String,
    /// The parameters that it begins with.
    pub(crate) names: Vec<String>,
    /// What becomes of them.
    pub(crate) class: Class,
    /// The value with which they are ignored.
    pub(crate) ignored_when: Option<String>,
    /// The loss that a lenient request has where another is refused.
    pub(crate) lenient: Option<String>,
}

/// The cells of the rows of a section's first table, without its head.
pub(crate) fn rows(page: &str, section: &str) -> Vec<Vec<String>> {
    let (_, section) = page
        .split_once(&format!("\n## {section}\n"))
        .unwrap_or_else(|| panic!("there is no section {section}"));
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
            inside.split(" | ").map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The words in backticks.
pub(crate) fn ticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the table of parameters.
pub(crate) fn request_rows(page: &str) -> Vec<Row> {
    rows(page, "Request")
        .into_iter()
        .map(|cells| {
            let [cell, class, rest @ ..] = cells.as_slice() else { panic!("{cells:?}") };
            let note = rest.join(" ");
            Row {
                cell: cell.clone(),
                names: names(cell),
                class: read_class(class),
                ignored_when: behind(&note, "gnored when "),
                lenient: [class.as_str(), &note].into_iter().find_map(lenient),
            }
        })
        .collect()
}

/// The parameters that a cell begins with. Words behind them say when the row holds; a value
/// behind a colon is an example.
fn names(cell: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = cell.strip_prefix("other ").unwrap_or(cell);
    while let Some((name, tail)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        let name = name.split(':').next().unwrap_or_default();
        names.push(name.to_owned());
        // "the rest of x" is no parameter of its own.
        rest = tail
            .strip_prefix(", the rest of")
            .map_or(tail, |tail| tail.split_once(", ").map_or("", |(_, tail)| tail));
        rest = rest.strip_prefix(", ").or(rest.strip_prefix(" and ")).unwrap_or(rest);
    }
    names
}

fn read_class(cell: &str) -> Class {
    let word = cell.split([' ', '(']).next().unwrap_or_default();
    match word {
        "carried" => Class::Carried,
        "ignored" => Class::Ignored,
        "refused" => Class::Refused,
        "loss" => Class::Loss(ticked(cell).into_iter().next()),
        _ => panic!("an unknown class: {cell}"),
    }
}

/// The word behind some others.
fn behind(text: &str, words: &str) -> Option<String> {
    let (_, rest) = text.split_once(words)?;
    let word = rest.split([' ', '.', ',', ';']).next()?;
    Some(word.to_owned())
}

/// The loss that stands behind `lenient:`.
fn lenient(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("enient: ")?;
    let rest = rest.strip_prefix("loss ").unwrap_or(rest);
    ticked(rest.strip_prefix('`').map(|_| rest)?).into_iter().next()
}
