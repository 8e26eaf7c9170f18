//! BIRD as the speaker.

use std::{
    fmt::Write,
    fs,
    process::{Child, Command, Stdio},
};

use metallb_dataplane::bgp::RouteChange;
use tempfile::TempDir;

use crate::reader::{self, Listener};

/// A running BIRD; ends when dropped.
pub(crate) struct Bird {
    process: Child,
    _folder: TempDir,
}

/// Starts BIRD with these routes (without their communities, which it would have to filter in) and the reader as its only neighbour.
pub(crate) fn start(reader: &Listener, routes: &[RouteChange]) -> Bird {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut config = "router id 10.0.0.1;\nprotocol device {}\nprotocol static { ipv4;\n".to_owned();
    for route in routes {
        writeln!(
            config,
            "route {} blackhole {{ bgp_community.add((64500,7)); }};",
            route.prefix
        )
        .unwrap();
    }
    write!(
        config,
        "}}\nprotocol bgp reader {{ local 10.0.0.1 as 64500; neighbor {} port {} as {}; multihop; \
         connect delay time 2; ipv4 {{ import none; export all; next hop self; }}; }}\n",
        reader.address.ip(),
        reader.address.port(),
        reader::ASN
    )
    .unwrap();
    fs::write(path("bird.conf"), config).unwrap();
    let process = Command::new("bird")
        .arg("-f")
        .arg("-c")
        .arg(path("bird.conf"))
        .arg("-s")
        .arg(path("control"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Bird {
        process,
        _folder: folder,
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
