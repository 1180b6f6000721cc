//! The Rust SDK's client as the host.
#![expect(deprecated, reason = "sampling is deprecated in the protocol, and what this is about")]

use std::sync::{Arc, Mutex};

use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientInfo, CreateMessageRequestParams,
    CreateMessageResult, Implementation, ProtocolVersion, SamplingCapability, SamplingMessage,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, ServiceExt,
};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::launch::address_of;
use crate::support::{Door, PATIENCE, Target};

/// A host that answers with what it was asked.
#[derive(Clone, Default)]
struct Echo {
    asked: Arc<Mutex<Vec<Value>>>,
}

impl ClientHandler for Echo {
    fn get_info(&self) -> ClientInfo {
        let mut capabilities = ClientCapabilities::default();
        capabilities.sampling = Some(SamplingCapability::default());
        ClientInfo::new(capabilities, Implementation::new("rmcp-echo", "1"))
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let params = serde_json::to_value(params).unwrap();
        let said =
            params["messages"].as_array().unwrap().last().unwrap()["content"]["text"].clone();
        self.asked.lock().unwrap().push(params);
        let text = format!("echo: {}", said.as_str().unwrap());
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text(text), "echo-1".to_owned())
            .with_stop_reason(CreateMessageResult::STOP_REASON_END_TURN))
    }
}

type Host = RunningService<RoleClient, Echo>;

async fn start(echo: Echo, lifecycle: Option<ClientLifecycleMode>) -> Host {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcptb"));
    command.env_clear().env("MCPTB_PORT", "0").env("MCPTB_LOG", "off").env("MCPTB_AUDIT", "off");
    let transport = TokioChildProcess::new(command).unwrap();
    let started = async {
        match lifecycle {
            None => echo.serve(transport).await,
            Some(lifecycle) => echo.serve_with_lifecycle(transport, lifecycle).await,
        }
    };
    timeout(PATIENCE, started).await.expect("in time").expect("a handshake")
}

/// What `bridge_status` tells once the bridge is ready.
async fn ready(host: &Host) -> Value {
    loop {
        let call = host.call_tool(CallToolRequestParams::new("bridge_status"));
        let result = timeout(PATIENCE, call).await.expect("in time").expect("a result");
        let text = serde_json::to_value(result).unwrap()["content"][0]["text"].clone();
        let status: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        if status["url"].is_string() && status["hosts"][0]["state"] == "ready" {
            return status;
        }
    }
}

fn round_trips(lifecycle: Option<ClientLifecycleMode>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let echo = Echo::default();
        let host = start(echo.clone(), lifecycle).await;
        let status = timeout(PATIENCE, ready(&host)).await.expect("ready in time");
        assert_eq!(status["hosts"][0]["name"], "rmcp-echo");
        let target = Target::plain(address_of(&status));
        let callers = tokio::task::spawn_blocking(move || {
            for door in Door::BOTH {
                let more = json!({"temperature": 0.25, "model": "some-model"});
                let reply = target.fetch(&door.ask_with("through the SDK", &more));
                assert_eq!(reply.status, 200);
                assert_eq!(door.text(&reply), "echo: through the SDK");
                assert_eq!(reply.header("x-mcp-model"), Some("echo-1"));
                let mut call = target.send(&door.ask_streamed("and streamed"));
                assert_eq!(door.streamed_text(&mut call), "echo: and streamed");
            }
        });
        timeout(PATIENCE, callers).await.expect("in time").unwrap();
        let tools = host.list_all_tools().await.unwrap();
        assert_eq!(tools.len(), 2);
        {
            let asked = echo.asked.lock().unwrap();
            assert_eq!(asked.len(), 5, "the warm-up and four calls");
            assert_eq!(asked[1]["temperature"], 0.25);
            assert_eq!(asked[1]["modelPreferences"]["hints"][0]["name"], "some-model");
        }
        timeout(PATIENCE, host.cancel()).await.expect("in time").unwrap();
    });
}

#[test]
fn an_initialize_host() {
    round_trips(None);
}

#[test]
fn a_host_of_both_eras_falls_back() {
    round_trips(Some(ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::LATEST],
        legacy_version: None,
    }));
}

#[test]
fn every_legacy_version_makes_the_round() {
    for version in [
        ProtocolVersion::V_2024_11_05,
        ProtocolVersion::V_2025_03_26,
        ProtocolVersion::V_2025_06_18,
        ProtocolVersion::V_2025_11_25,
    ] {
        round_trips(Some(ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(version),
        }));
    }
}
