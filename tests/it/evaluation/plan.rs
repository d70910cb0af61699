//! The table of what is planted: each incident knows the findings that it must give.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::background::Life;
use super::calendar::HOUR;
use super::company::Company;
use super::traffic::Party::{Away, Container, Further, Host, Six};
use super::traffic::{Party, Talk, Traffic, talk};
use crate::truth::conversations::TCP;
use crate::truth::world::Role;

/// A finding that an incident must give; or one that is right where it is given.
#[derive(Debug, Clone)]
pub(super) struct Planted {
    /// The detection's id.
    pub(super) detection: &'static str,
    pub(super) story: &'static str,
    /// Pointers into the finding, and what must be there.
    pub(super) wanted: Vec<(&'static str, Value)>,
}

impl Planted {
    pub(super) fn fits(&self, finding: &Value) -> bool {
        finding["detection"] == self.detection
            && self
                .wanted
                .iter()
                .all(|(pointer, value)| finding.pointer(pointer) == Some(value))
    }

    /// Whether a finding of whatever detection tells of it: it agrees in all that it says, and says two things of it at least.
    pub(super) fn explains(&self, finding: &Value) -> bool {
        let said = self.wanted.iter().filter_map(|(pointer, value)| {
            let said = finding.pointer(pointer).filter(|said| !said.is_null());
            said.map(|said| said == value)
        });
        let said: Vec<bool> = said.collect();
        said.len() > 1 && !said.contains(&false)
    }
}

/// The company, its traffic so far, and what is planted in it.
pub(super) struct Plan<'c> {
    pub(super) company: &'c Company,
    pub(super) traffic: &'c mut Traffic,
    pub(super) life: &'c Life,
    pub(super) incidents: Vec<Planted>,
    /// Findings that follow from an incident or a decoy and are right, though nobody must find them.
    pub(super) acceptable: Vec<Planted>,
    /// The last incident that brought traffic.
    latest: Option<Planted>,
    strangers: u8,
}

impl<'c> Plan<'c> {
    pub(super) fn new(company: &'c Company, traffic: &'c mut Traffic, life: &'c Life) -> Self {
        let strangers = u8::try_from(traffic.random.between(0, 49)).unwrap();
        Self {
            company,
            traffic,
            life,
            incidents: Vec::new(),
            acceptable: Vec::new(),
            latest: None,
            strangers,
        }
    }

    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.traffic.random.between(low, high)
    }

    /// One of a subnet's hosts.
    pub(super) fn host(&mut self, vpc: usize, role: Role, zone: usize) -> Party {
        let hosts = &self.company.hosts(vpc, role, zone)[..4];
        Host(self.traffic.random.pick(hosts))
    }

    /// A time in an hour of the window's day.
    pub(super) fn at(&mut self, hour: i64) -> i64 {
        let minute = self.between(0, 55);
        self.traffic.calendar.at(hour, minute)
    }

    /// Any time of the window's day.
    pub(super) fn any_time(&mut self) -> i64 {
        let hour = self.between(0, 22);
        self.at(hour)
    }

    /// An address that nobody has ever talked to.
    pub(super) fn stranger(&mut self) -> IpAddr {
        self.strangers += 1;
        let host = 54 + self.strangers % 200;
        Ipv4Addr::new(198, 51, 100, host).into()
    }

    pub(super) fn add(&mut self, talk: Talk) {
        self.traffic.add(self.company, talk);
    }

    pub(super) fn id_of(&self, party: Party) -> Option<&str> {
        match party {
            Host(node) | Six(node) | Further(node) | Container(node, _) => {
                Some(&self.company.world.nodes[node].id)
            }
            Away(_) => None,
        }
    }

    pub(super) fn subnet_of(&self, party: Party) -> Option<&str> {
        match party {
            Host(node) | Six(node) | Further(node) | Container(node, _) => {
                Some(&self.company.world.subnet_of(node).id)
            }
            Away(_) => None,
        }
    }

    fn plant(&mut self, planted: Planted) {
        self.latest = Some(planted.clone());
        self.incidents.push(planted);
    }

    /// What a detection of another question may say of a decoy.
    pub(super) fn accept(
        &mut self,
        detection: &'static str,
        story: &'static str,
        from: Party,
        port: u16,
    ) {
        self.acceptable.push(Planted {
            detection,
            story,
            wanted: vec![
                ("/subnet_id", json!(self.subnet_of(from))),
                ("/dst_port", json!(port)),
            ],
        });
    }

    /// Another detection must find the last incident as well, by these of its keys.
    pub(super) fn also(&mut self, detection: &'static str, keys: &[&'static str]) {
        let mut planted = self.latest.clone().expect("an incident before");
        planted.detection = detection;
        planted.wanted.retain(|(pointer, _)| keys.contains(pointer));
        self.incidents.push(planted);
    }

    /// Unexpected egress: one finding of all talks, which share their ends, port and protocol.
    pub(super) fn egress(&mut self, story: &'static str, protocol: u8, talks: &[Talk]) {
        let Talk { from, to, port, .. } = talks[0];
        let Away(remote) = to else {
            panic!("{story}: egress leads away")
        };
        let planted = Planted {
            detection: "egress_unexpected",
            story,
            wanted: vec![
                ("/interface_id", json!(self.id_of(from))),
                ("/dst_addr", json!(remote)),
                ("/dst_port", json!(port)),
                ("/protocol", json!(protocol)),
            ],
        };
        self.plant(planted);
        for &talk in talks {
            self.traffic.add_seen(self.company, talk.over(protocol));
        }
    }

    /// Traffic between private subnets.
    pub(super) fn east_west(&mut self, story: &'static str, protocol: u8, talks: &[Talk]) {
        let Talk { from, to, port, .. } = talks[0];
        let planted = Planted {
            detection: "east_west_private",
            story,
            wanted: vec![
                ("/subnet_id", json!(self.subnet_of(from))),
                ("/dst_subnet_id", json!(self.subnet_of(to))),
                ("/dst_port", json!(port)),
                ("/protocol", json!(protocol)),
            ],
        };
        self.plant(planted);
        for &talk in talks {
            self.traffic.add_seen(self.company, talk.over(protocol));
        }
    }

    /// A spike of rejected attempts, spread over a time.
    pub(super) fn rejects(&mut self, story: &'static str, spike: &Spike) {
        let at = if spike.at_home {
            spike.from[0]
        } else {
            spike.to[0]
        };
        let direction = if spike.at_home { "egress" } else { "ingress" };
        let planted = Planted {
            detection: "reject_spike",
            story,
            wanted: vec![
                ("/subnet_id", json!(self.subnet_of(at))),
                ("/evidence/direction", json!(direction)),
                ("/dst_port", json!(spike.port)),
                ("/protocol", json!(spike.protocol)),
            ],
        };
        self.plant(planted);
        self.refuse(spike);
    }

    /// One of ours is refused far more often than in its other hours, whoever refuses it.
    pub(super) fn refused_client(&mut self, story: &'static str, client: Party) {
        let wanted = vec![("/interface_id", json!(self.id_of(client)))];
        self.incidents.push(Planted {
            detection: "reject_outbound_spike",
            story,
            wanted,
        });
    }

    /// The attempts of a spike, as traffic only.
    pub(super) fn refuse(&mut self, spike: &Spike) {
        for _ in 0..spike.attempts {
            let (from, to) = (
                self.traffic.random.pick(&spike.from),
                self.traffic.random.pick(&spike.to),
            );
            let at = spike.at + self.between(0, spike.seconds);
            let talk = talk(from, to, spike.port, at);
            let talk = if spike.at_home {
                talk.refused_at_home()
            } else {
                talk.refused()
            };
            self.traffic
                .add_seen(self.company, talk.over(spike.protocol));
        }
    }
}

/// Rejected attempts.
#[derive(Debug, Clone)]
pub(super) struct Spike {
    pub(super) from: Vec<Party>,
    pub(super) to: Vec<Party>,
    pub(super) port: u16,
    pub(super) protocol: u8,
    pub(super) attempts: i64,
    pub(super) at: i64,
    pub(super) seconds: i64,
    /// The client's own side refuses.
    pub(super) at_home: bool,
}

impl Spike {
    /// Within an hour, over TCP, refused by the server's side.
    pub(super) fn new(from: &[Party], to: &[Party], port: u16, attempts: i64, hour: i64) -> Self {
        Self {
            from: from.to_vec(),
            to: to.to_vec(),
            port,
            protocol: TCP,
            attempts,
            at: hour + 120,
            seconds: HOUR - 300,
            at_home: false,
        }
    }
}

/// A place on premises, which the plant reaches.
pub(super) fn on_premises(host: u8) -> Party {
    Away(Ipv4Addr::new(192, 168, 44, host).into())
}
