//! Who the host is and what it offers.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The protocol versions with an `initialize` handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtocolVersion {
    /// 2024-11-05.
    V2024_11_05,
    /// 2025-03-26: batches.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25: tools and tasks in sampling, content arrays.
    V2025_11_25,
}

impl ProtocolVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 4] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }

    /// The version to answer with: the asked one where we know it, else the newest.
    pub fn negotiate(asked: Option<&str>) -> Self {
        Self::ALL
            .into_iter()
            .find(|version| Some(version.as_str()) == asked)
            .unwrap_or(Self::V2025_11_25)
    }
}

/// What a host said of itself in `initialize`. Self-reported: for display and capability only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    /// `clientInfo.name`.
    pub name: String,
    /// `clientInfo.version`.
    pub version: String,
    /// The version that was agreed on.
    pub protocol: ProtocolVersion,
    /// It answers `sampling/createMessage`.
    pub sampling: bool,
    /// It takes tools in sampling requests.
    pub sampling_tools: bool,
    /// It runs sampling as a task (2025-11-25), which can be cancelled.
    pub sampling_tasks: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Initialize {
    #[serde(rename = "protocolVersion", deserialize_with = "lenient")]
    protocol_version: Option<String>,
    #[serde(deserialize_with = "lenient")]
    capabilities: Option<Capabilities>,
    #[serde(rename = "clientInfo", deserialize_with = "lenient")]
    client_info: Option<ClientInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    #[serde(deserialize_with = "lenient")]
    sampling: Option<Sampling>,
    #[serde(deserialize_with = "lenient")]
    tasks: Option<Tasks>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sampling {
    tools: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tasks {
    #[serde(deserialize_with = "lenient")]
    requests: Option<TaskRequests>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TaskRequests {
    #[serde(deserialize_with = "lenient")]
    sampling: Option<TaskSampling>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TaskSampling {
    #[serde(rename = "createMessage")]
    create_message: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClientInfo {
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(deserialize_with = "lenient")]
    version: Option<String>,
}

/// A value of the wrong type counts as absent: a host's mistake in one field must not hide the
/// others.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let raw = <Option<Box<serde_json::value::RawValue>>>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

impl HostInfo {
    /// Reads the `params` of `initialize`; whatever is missing or wrong counts as not offered.
    pub(crate) fn read(params: Option<&[u8]>) -> Self {
        let asked: Initialize =
            params.and_then(|params| serde_json::from_slice(params).ok()).unwrap_or_default();
        let capabilities = asked.capabilities.unwrap_or_default();
        let client = asked.client_info.unwrap_or_default();
        let protocol = ProtocolVersion::negotiate(asked.protocol_version.as_deref());
        let newest = protocol >= ProtocolVersion::V2025_11_25;
        Self {
            name: client.name.unwrap_or_else(|| "unnamed host".to_owned()),
            version: client.version.unwrap_or_default(),
            protocol,
            sampling: capabilities.sampling.is_some(),
            sampling_tools: newest
                && capabilities.sampling.is_some_and(|sampling| sampling.tools.is_some()),
            sampling_tasks: newest
                && capabilities
                    .tasks
                    .and_then(|tasks| tasks.requests)
                    .and_then(|requests| requests.sampling)
                    .is_some_and(|sampling| sampling.create_message.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HostInfo, ProtocolVersion};

    #[test]
    fn reads_what_vs_code_sends() {
        let params =
            br#"{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true},
            "sampling":{},"elicitation":{"form":{},"url":{}},"tasks":{"list":{},"cancel":{},
            "requests":{"sampling":{"createMessage":{}},"elicitation":{"create":{}}}}},
            "clientInfo":{"name":"Visual Studio Code","version":"1.132.0"}}"#;
        let host = HostInfo::read(Some(params));
        assert_eq!(
            host,
            HostInfo {
                name: "Visual Studio Code".into(),
                version: "1.132.0".into(),
                protocol: ProtocolVersion::V2025_11_25,
                sampling: true,
                sampling_tools: false,
                sampling_tasks: true,
            }
        );
    }

    #[test]
    fn what_is_wrong_counts_as_absent() {
        let host = HostInfo::read(Some(
            br#"{"protocolVersion":7,"capabilities":{"sampling":{"tools":{}},"tasks":5},"clientInfo":[]}"#,
        ));
        assert!(host.sampling && host.sampling_tools && !host.sampling_tasks);
        assert_eq!(host.protocol, ProtocolVersion::V2025_11_25);
        let nothing = HostInfo::read(None);
        assert!(!nothing.sampling);
        assert!(!HostInfo::read(Some(b"[]")).sampling);
    }

    #[test]
    fn echoes_the_versions_it_knows() {
        for version in ProtocolVersion::ALL {
            assert_eq!(ProtocolVersion::negotiate(Some(version.as_str())), version);
        }
        assert_eq!(ProtocolVersion::negotiate(Some("2026-07-28")), ProtocolVersion::V2025_11_25);
        assert_eq!(ProtocolVersion::negotiate(None), ProtocolVersion::V2025_11_25);
    }

    #[test]
    fn tools_and_tasks_do_not_exist_before_2025_11_25() {
        let host = HostInfo::read(Some(
            br#"{"protocolVersion":"2025-06-18","capabilities":{"sampling":{"tools":{}},
            "tasks":{"requests":{"sampling":{"createMessage":{}}}}}}"#,
        ));
        assert!(host.sampling && !host.sampling_tools && !host.sampling_tasks);
    }
}
