//! The routes in this process, over files that no bridge holds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use bytes::Bytes;
use gateway::admin::Admin;
use gateway::admission::Admission;
use gateway::clock::SystemClock;
use gateway::keyring::Keyring;
use gateway::policy::Policy;
use gateway::store::Store;
use http::Request;
use http_body_util::{BodyExt, Full};
use http_doors::admin::{AdminAccess, AdminDoors, AdminPaths, OpenDoors, admin_router};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use stores::{Durability, OpenError, OpenOptions, Sqlite};
use tokio_util::task::TaskTracker;

use super::exchange::Reply;
use super::{Ask, Problem};
use crate::entropy::SystemRandomness;
use crate::records::chain;
use crate::wiring::BRIDGE;

/// An open store and the routes over it. When it is dropped, what was written is on the disk.
pub(super) struct Direct {
    router: Router,
    folder: PathBuf,
}

/// The files of a folder as they were left, to see whether anybody has had them since.
pub(in crate::cli) struct Traces {
    folder: PathBuf,
    files: BTreeMap<OsString, Option<(SystemTime, u64)>>,
}

impl Traces {
    fn of(folder: PathBuf) -> Self {
        let found = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let files = found.map(|file| {
            let look = file.metadata().and_then(|found| Ok((found.modified()?, found.len())));
            (file.file_name(), look.ok())
        });
        let files = files.collect();
        Self { folder, files }
    }

    /// Whether nobody has had them. A bridge leaves its socket, if nothing else.
    pub(in crate::cli) fn are_all(&self) -> bool {
        Self::of(self.folder.clone()).files == self.files
    }
}

/// What stands at the files.
pub(super) enum Found {
    Open(Direct),
    /// Another program holds them.
    Held(String),
}

impl Direct {
    pub(super) async fn open(folder: &Path) -> Result<Found, Problem> {
        let mut options = OpenOptions::new(folder);
        options.durability = Durability::Fsync;
        let store = match Sqlite::open(options) {
            Ok(store) => store,
            Err(OpenError::Locked { holder, .. }) => return Ok(Found::Held(holder)),
            Err(error) => return Err(unusable(&chain(&error))),
        };
        let loaded = store.load().await.map_err(|error| unusable(&error.to_string()))?;
        let keyring = Arc::new(Keyring::new(store.install_secret().clone(), loaded));
        // For what has been used of keys; nobody is admitted here.
        let admission = Arc::new(Admission::new(Policy::default(), Arc::new(SystemClock)));
        admission.load_totals(&store).await.map_err(|error| unusable(&error.to_string()))?;
        let admin = Admin::new(
            Arc::new(store),
            keyring,
            Arc::new(SystemClock),
            Arc::new(SystemRandomness),
            TaskTracker::new(),
        );
        let (access, paths) = (AdminAccess::Machine, AdminPaths::Admin);
        // No door is open to anybody else.
        let open = OpenDoors::default();
        let doors = AdminDoors { admin, admission, access, paths, bridge: BRIDGE, open };
        let router = admin_router(doors);
        Ok(Found::Open(Self { router, folder: folder.to_owned() }))
    }

    /// Closes the files.
    pub(super) fn close(self) -> Traces {
        let Self { router, folder } = self;
        drop(router);
        Traces::of(folder)
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, Problem> {
        let broken = || Problem::refused("the request cannot be made", "please report this");
        let request = Request::builder().method(ask.method.clone()).uri(&ask.path);
        let body = Full::new(Bytes::from(ask.body.clone().unwrap_or_default()));
        let request = request.body(body).map_err(|_| broken())?;
        let answered = TowerToHyperService::new(self.router.clone()).call(request).await;
        let (head, body) = answered.map_err(|never| match never {})?.into_parts();
        let body = body.collect().await.map_err(|_| broken())?;
        Ok(Reply { status: head.status, body: body.to_bytes().into() })
    }
}

fn unusable(why: &str) -> Problem {
    Problem::refused(
        format!("keys and records cannot be opened: {why}"),
        "name another folder with --data-dir or MCPTB_DATA_DIR, or see docs/keys.md",
    )
}
