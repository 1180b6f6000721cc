//! `mcptb tenants`: owners of keys, with bounds over all of them together.

use std::process::ExitCode;

use clap::{ArgMatches, Args, Subcommand};
use http::Method;
use serde_json::{Map, Value as Json, json};

use super::bounds::{BoundsFlags, ClearFlags, put};
use super::client::{Ask, Client, Reach, escaped, read};
use super::keys::shown;
use super::pages::Most;
use super::table::{Flush, Table};
use super::{Problem, pages, print, show};

/// The routes.
const PATH: &str = "/admin/v1/tenants";

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub(super) enum TenantsCommand {
    /// Makes a tenant.
    Create(CreateArgs),
    /// Lists tenants by name.
    List(ListArgs),
    /// Shows a tenant.
    Show(OneArgs),
    /// Changes a tenant; what is not said stays.
    Edit(EditArgs),
    /// Shuts a tenant out, with all of its keys, for good.
    Revoke(OneArgs),
    /// Forgets a tenant that has no keys.
    Delete(OneArgs),
}

/// What can be said of a tenant.
#[derive(Debug, Args)]
struct TenantFlags {
    /// Whatever is worth knowing.
    #[arg(long)]
    notes: Option<String>,
    /// Its share of the queue beside others, 1 to 65535.
    #[arg(long, value_name = "N")]
    weight: Option<u16>,
    #[command(flatten)]
    bounds: BoundsFlags,
}

impl TenantFlags {
    fn write(&self, cleared: Option<&ClearFlags>, body: &mut Map<String, Json>) {
        self.bounds.write(cleared, body);
        put(body, "notes", self.notes.as_deref().map(Json::from));
        put(body, "weight", self.weight.map(Json::from));
    }
}

/// A tenant to be made.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Its name.
    id: String,
    #[command(flatten)]
    fields: TenantFlags,
    #[command(flatten)]
    reach: Reach,
}

/// Which tenants.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    most: Most,
    #[command(flatten)]
    reach: Reach,
}

/// One tenant.
#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// Its name.
    id: String,
    #[command(flatten)]
    reach: Reach,
}

/// What changes.
#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// Its name.
    id: String,
    #[command(flatten)]
    fields: TenantFlags,
    #[command(flatten)]
    cleared: ClearFlags,
    #[command(flatten)]
    reach: Reach,
}

/// Runs a command; `matches` are its own.
pub(super) fn run(command: TenantsCommand, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let one = |id: &str| format!("{PATH}/{}", escaped(id));
    match command {
        TenantsCommand::Create(args) => create(args, matches)?,
        TenantsCommand::List(args) => list(&args, matches)?,
        TenantsCommand::Show(args) => shown(&args.reach, matches, &Ask::get(one(&args.id)))?,
        TenantsCommand::Edit(args) => {
            let mut body = Map::new();
            args.fields.write(Some(&args.cleared), &mut body);
            if body.is_empty() {
                let hint = "see: mcptb tenants edit --help";
                return Err(Problem::new("nothing is to be changed", hint));
            }
            let ask = Ask::new(Method::PATCH, one(&args.id)).body(&Json::Object(body));
            shown(&args.reach, matches, &ask)?;
        }
        TenantsCommand::Revoke(args) => {
            let ask = Ask::post(format!("{}/revoke", one(&args.id)), &json!({}));
            shown(&args.reach, matches, &ask)?;
        }
        TenantsCommand::Delete(args) => {
            shown(&args.reach, matches, &Ask::new(Method::DELETE, one(&args.id)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(args: CreateArgs, matches: &ArgMatches) -> Result<(), Problem> {
    let mut body = Map::new();
    put(&mut body, "id", Some(Json::from(args.id)));
    args.fields.write(None, &mut body);
    let client = Client::open(&args.reach, matches, true)?;
    let made = client.fetch(&Ask::post(PATH, &Json::Object(body)))?;
    if args.reach.json {
        print(&format!("{made}\n"));
    } else {
        print(&show::fields(&read(&made)?));
    }
    Ok(())
}

fn list(args: &ListArgs, matches: &ArgMatches) -> Result<(), Problem> {
    let client = Client::open(&args.reach, matches, false)?;
    let tenants = pages::all(&client, &Ask::get(PATH), args.most.limit)?;
    if args.reach.json {
        print(&pages::document(&tenants));
        return Ok(());
    }
    let mut table = Table::new(&[
        ("ID", Flush::Left),
        ("STATE", Flush::Left),
        ("CREATED", Flush::Left),
        ("WEIGHT", Flush::Right),
        ("NOTES", Flush::Left),
    ]);
    for tenant in &tenants {
        let tenant = pages::value(tenant);
        let field = |name| show::field(&tenant, name);
        let created = show::time(&tenant, "created");
        table.row(&[field("id"), field("state"), created, field("weight"), field("notes")]);
    }
    print(&table.text());
    Ok(())
}
