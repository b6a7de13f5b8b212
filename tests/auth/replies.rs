//! `allow_responses`: random requests and responses, step by step.

use midge::auth::{PermissionRules, Permissions, ReplyTracker, ResponseRules, SubjectRules};

use super::server::{Server, now};

/// A small generator, so that a failing run can be named by its seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

const SEEDS: u64 = 20;
const STEPS: u32 = 60;
const REPLIES: u64 = 3;

#[test]
fn responses_are_counted_as_nats_server_does() {
    let configuration = "authorization { users: [
        { user: admin, password: x }
        { user: u1, password: x, permissions: { publish: here, allow_responses: true } }
        { user: u2, password: x, permissions: { publish: here, allow_responses: { max: 2, expires: \"1h\" } } }
        { user: u3, password: x, permissions: { publish: here, allow_responses: { max: -1 } } }
    ] }";
    let Some(server) = Server::start(configuration) else {
        return;
    };
    let mut admin = server.log_in("admin", "x");
    let default = ResponseRules::default();
    for (user, max_messages) in [("u1", Some(1)), ("u2", Some(2)), ("u3", None)] {
        let responses = ResponseRules {
            max_messages,
            ..default
        };
        let publish = SubjectRules {
            allow: Some(vec!["here".into()]),
            deny: Vec::new(),
        };
        let rules = PermissionRules {
            publish: Some(publish),
            responses: Some(responses),
            ..PermissionRules::default()
        };
        let permissions = Permissions::compile(&rules).unwrap();
        for seed in 1..=SEEDS {
            let mut random = Random(seed);
            let mut connection = server.log_in(user, "x");
            assert!(connection.exchange("SUB request 1\r\n").is_empty());
            let mut tracker = ReplyTracker::new(responses);
            for step in 0..STEPS {
                let reply = format!("reply.{}", random.below(REPLIES));
                if random.below(2) == 0 {
                    assert!(
                        admin
                            .exchange(&format!("PUB request {reply} 0\r\n\r\n"))
                            .is_empty()
                    );
                    assert_eq!(
                        connection.exchange(""),
                        [format!("MSG request 1 {reply} 0")]
                    );
                    if !permissions.may_publish(reply.as_bytes()) {
                        tracker.delivered(reply.as_bytes(), now());
                    }
                } else {
                    let answer = connection.exchange(&format!("PUB {reply} 0\r\n\r\n"));
                    let ours = permissions.may_publish(reply.as_bytes())
                        || tracker.may_respond(reply.as_bytes(), now());
                    assert_eq!(
                        answer.is_empty(),
                        ours,
                        "{user}, seed {seed}, step {step}, {reply}"
                    );
                }
            }
        }
    }
}
