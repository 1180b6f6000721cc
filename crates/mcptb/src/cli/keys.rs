//! `mcptb keys`: makes, shows, changes and ends keys.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Subcommand, ValueEnum};
use http::Method;
use model::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

use super::bounds::put;
use super::client::{Ask, Client, Reach, escaped, read};
use super::pages::Most;
use super::table::{Flush, Table};
use super::token::{TokenOut, TokenPlace};
use super::{Problem, note, pages, print, show};

mod fields;

use fields::{EditFlags, KeyFlags};

/// The routes.
const PATH: &str = "/admin/v1/keys";

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Makes a key, and shows its token this once.
    Create(CreateArgs),
    /// Lists keys, newest first.
    List(ListArgs),
    /// Shows a key.
    Show(OneArgs),
    /// Changes a key; what is not said stays.
    Edit(EditArgs),
    /// Gives a key a new token.
    Rotate(RotateArgs),
    /// Ends a key and its children, with their running calls, for good.
    Revoke(OneArgs),
    /// Forgets a key; its calls stay on record.
    Delete(OneArgs),
}

/// A key to be made.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// A key that administers and calls no models.
    #[arg(long, conflicts_with_all = ["sandbox", "parent"])]
    admin: bool,
    /// A key that is answered without any model, to test a client with.
    #[arg(long)]
    sandbox: bool,
    /// To whom it belongs; made if it is not there. Without it, `default`.
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// The key above it, within whose bounds it stays.
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    #[command(flatten)]
    fields: KeyFlags,
    #[command(flatten)]
    token: TokenOut,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Model,
    Sandbox,
    Admin,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Active,
    Ended,
}

/// Which keys.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Keys of this tenant.
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Keys of this kind.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Keys that work, or that do not any more.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Keys below this one.
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    #[command(flatten)]
    most: Most,
    #[command(flatten)]
    reach: Reach,
}

/// One key.
#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// Its id: the twelve characters in the middle of the token.
    id: String,
    #[command(flatten)]
    reach: Reach,
}

/// What changes.
#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// Its id.
    id: String,
    #[command(flatten)]
    fields: EditFlags,
    #[command(flatten)]
    reach: Reach,
}

/// How a key gets a new token.
#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// Its id.
    id: String,
    /// How long the earlier token works beside the new one, such as 7d; 0 ends it at once.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    overlap: String,
    #[command(flatten)]
    token: TokenOut,
    #[command(flatten)]
    reach: Reach,
}

/// Runs a command; `matches` are its own.
pub(super) fn run(command: KeysCommand, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let one = |id: &str| format!("{PATH}/{}", escaped(id));
    match command {
        KeysCommand::Create(args) => create(args, matches)?,
        KeysCommand::List(args) => list(&args, matches)?,
        KeysCommand::Show(args) => shown(&args.reach, matches, &Ask::get(one(&args.id)))?,
        KeysCommand::Edit(args) => {
            let mut body = Map::new();
            args.fields.write(&mut body);
            if body.is_empty() {
                return Err(Problem::new(
                    "nothing is to be changed",
                    "see: mcptb keys edit --help",
                ));
            }
            let ask = Ask::new(Method::PATCH, one(&args.id)).body(&Json::Object(body));
            shown(&args.reach, matches, &ask)?;
        }
        KeysCommand::Rotate(args) => {
            let place = args.token.place()?;
            let client = Client::open(&args.reach, matches, false)?;
            let body = json!({"overlap": args.overlap});
            let ask = Ask::post(format!("{}/rotate", one(&args.id)), &body);
            issue(&client, &ask, place, &args.reach)?;
        }
        KeysCommand::Revoke(args) => {
            let ask = Ask::post(format!("{}/revoke", one(&args.id)), &json!({}));
            shown(&args.reach, matches, &ask)?;
        }
        KeysCommand::Delete(args) => {
            let ask = Ask::new(Method::DELETE, one(&args.id));
            shown(&args.reach, matches, &ask)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks, and shows the one thing that comes back.
pub(super) fn shown(reach: &Reach, matches: &ArgMatches, ask: &Ask) -> Result<(), Problem> {
    let client = Client::open(reach, matches, false)?;
    let body = client.fetch(ask)?;
    if reach.json {
        print(&format!("{body}\n"));
    } else {
        print(&show::fields(&read(&body)?));
    }
    Ok(())
}

fn create(args: CreateArgs, matches: &ArgMatches) -> Result<(), Problem> {
    let place = args.token.place()?;
    let mut body = Map::new();
    let kind = match (args.admin, args.sandbox) {
        (true, _) => Some("admin"),
        (_, true) => Some("sandbox"),
        _ => None,
    };
    put(&mut body, "kind", kind.map(Json::from));
    put(&mut body, "tenant", args.tenant.map(Json::from));
    put(&mut body, "parent", args.parent.map(Json::from));
    args.fields.write(None, &mut body);
    let client = Client::open(&args.reach, matches, true)?;
    issue(&client, &Ask::post(PATH, &Json::Object(body)), place, &args.reach)?;
    if !args.admin && is_first(&client)? {
        note(
            "mcptb: from now on every caller has to show a key or the token, unless --auth \
             open-loopback is set",
        );
    }
    Ok(())
}

/// Whether there is one key that calls, and no more.
fn is_first(client: &Client) -> Result<bool, Problem> {
    let mut count = 0;
    for kind in ["model", "sandbox"] {
        count += pages::all(client, &Ask::get(PATH).query(&[("kind", Some(kind))]), Some(2))?.len();
    }
    Ok(count == 1)
}

/// A key with its token.
#[derive(Deserialize)]
struct Issued {
    key: Box<RawValue>,
    token: String,
}

/// Asks for a token and takes it where it belongs.
fn issue(client: &Client, ask: &Ask, place: TokenPlace, reach: &Reach) -> Result<(), Problem> {
    let Issued { key: raw, token } = client.read(ask)?;
    let token = Secret::new(token);
    let key = pages::value(&raw);
    let (said, shell, file) = match place {
        TokenPlace::Screen => (Some(token.expose().clone()), "TOKEN".to_owned(), None),
        TokenPlace::File(mut file) => {
            let path = file.path().to_owned();
            file.write(format!("{}\n", token.expose()).as_bytes())?;
            file.keep()?;
            (None, format!("$(cat {})", path.display()), Some(path))
        }
    };
    if reach.json {
        let mut text = format!("{{\"key\":{}", raw.get());
        if let Some(token) = said {
            // Writing to a string cannot fail.
            let _ = write!(text, ",\"token\":{}", json!(token));
        }
        if let Some(path) = file {
            let _ = write!(text, ",\"token_file\":{}", json!(path.to_string_lossy()));
        }
        print(&format!("{text}}}\n"));
        return Ok(());
    }
    let (id, kind) = (show::field(&key, "id"), show::field(&key, "kind"));
    print(&format!("{kind} key {id} of tenant {}\n", show::field(&key, "tenant")));
    match (&said, &file) {
        (Some(token), _) => print(&format!("{token}\nIt is shown this once.\n")),
        (None, Some(path)) => print(&format!("Its token is in {}.\n", path.display())),
        (None, None) => {}
    }
    let Some(url) = address(client, reach, kind == "admin") else { return Ok(()) };
    if kind == "admin" {
        let named = file.as_ref().map_or_else(|| "FILE".into(), |path| path.to_string_lossy());
        print(&format!("Use it: mcptb keys list --url {url} --key-file {named}\n"));
    } else {
        print(&format!("Use it: curl {url}/v1/models -H \"Authorization: Bearer {shell}\"\n"));
    }
    Ok(())
}

/// Where a key can be used, as seen from here; `None` where no bridge runs, or that is not known.
fn address(client: &Client, reach: &Reach, of_admins: bool) -> Option<String> {
    let status: Json = client.read(&Ask::get("/admin/v1/status")).ok()?;
    let [public, admin] = ["url", "admin_url"].map(|name| status.get(name).and_then(Json::as_str));
    if let Some(url) = &reach.url {
        // A listener of administrators answers nobody else.
        return (of_admins || public == admin).then(|| url.trim_end_matches('/').to_owned());
    }
    // Whoever listens everywhere is found here.
    let found = if of_admins { admin } else { public }?;
    Some(found.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"))
}

fn list(args: &ListArgs, matches: &ArgMatches) -> Result<(), Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let kind = args.kind.map(|kind| match kind {
        Kind::Model => "model",
        Kind::Sandbox => "sandbox",
        Kind::Admin => "admin",
    });
    let state = args.state.map(|state| match state {
        State::Active => "active",
        State::Ended => "ended",
    });
    let ask = Ask::get(PATH).query(&[
        ("tenant", args.tenant.as_deref()),
        ("kind", kind),
        ("state", state),
        ("parent", args.parent.as_deref()),
    ]);
    let keys = pages::all(&client, &ask, args.most.limit)?;
    if args.reach.json {
        print(&pages::document(&keys));
        return Ok(());
    }
    let left = |head| (head, Flush::Left);
    let mut table = Table::new(
        &["ID", "KIND", "TENANT", "NAME", "STATE", "CREATED", "EXPIRES", "LAST USED", "USES LEFT"]
            .map(left),
    );
    for key in &keys {
        let key = pages::value(key);
        let mut cells: Vec<String> =
            ["id", "kind", "tenant", "name", "state"].map(|name| show::field(&key, name)).into();
        cells.extend(["created", "expires", "last_used"].map(|name| show::time(&key, name)));
        cells.push(show::field(&key, "uses_left"));
        table.row(&cells);
    }
    print(&table.text());
    Ok(())
}
