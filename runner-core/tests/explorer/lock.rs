//! A lock service over an unreliable network, and its model.
//!
//! The machine is small, but every peer it has can break: clients ask, get, use and give back a
//! lock; messages overtake one another and may arrive twice; the server may crash at any step,
//! which loses what it was sending, and comes back with what it wrote to disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use runner_core::testing::explorer::{Model, Progress, Reliance, Violation};

/// One that wants the lock.
pub(crate) type Client = u8;
/// Numbers each grant, so that what belongs to an old one is told apart.
pub(crate) type Grant = u8;

/// The server: what it believes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    holder: Option<(Client, Grant)>,
    last_grant: Grant,
    waiting: VecDeque<Client>,
    without: Option<Guard>,
}

/// What the server hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Ask(Client),
    Release(Client, Grant),
}

/// What the server wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Onto the disk: who holds the lock, and the last grant that was numbered.
    Store(Option<Client>, Grant),
    /// To a client: the lock is yours.
    Give(Client, Grant),
}

/// What keeps the service right; a test leaves one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
    /// A release counts only for the grant that it belongs to.
    ReleaseOfThisGrant,
    /// A grant is on disk before anybody hears of it.
    StoreBeforeGiving,
    /// Whoever holds the lock is told so again and again, until it gives it back.
    RemindTheHolder,
}

impl Server {
    pub(crate) fn handle(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Ask(client) => match self.holder {
                None => self.grant(client),
                // It is reminded in its time.
                Some((holder, _)) if holder == client => vec![],
                Some(_) => {
                    if !self.waiting.contains(&client) {
                        self.waiting.push_back(client);
                    }
                    vec![]
                }
            },
            Message::Release(client, grant) => {
                let this_grant = self.holder == Some((client, grant));
                if !this_grant && self.holds(Guard::ReleaseOfThisGrant) {
                    return vec![];
                }
                self.holder = None;
                match self.waiting.pop_front() {
                    Some(next) => self.grant(next),
                    None => vec![Effect::Store(None, self.last_grant)],
                }
            }
        }
    }

    /// Whether the timer is armed that reminds the holder.
    fn reminds(&self) -> Option<(Client, Grant)> {
        self.holder.filter(|_| self.holds(Guard::RemindTheHolder))
    }

    fn grant(&mut self, client: Client) -> Vec<Effect> {
        self.last_grant += 1;
        self.holder = Some((client, self.last_grant));
        let store = Effect::Store(Some(client), self.last_grant);
        let give = Effect::Give(client, self.last_grant);
        match self.holds(Guard::StoreBeforeGiving) {
            true => vec![store, give],
            false => vec![give, store],
        }
    }

    /// After a crash: the queue is lost, what was stored is not.
    fn recover(disk: (Option<Client>, Grant), without: Option<Guard>) -> Self {
        let (holder, last_grant) = disk;
        Self {
            holder: holder.map(|client| (client, last_grant)),
            last_grant,
            waiting: VecDeque::new(),
            without,
        }
    }

    fn holds(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }
}

/// The scope: how many of everything there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) clients: Client,
    /// How often each client wants the lock.
    pub(crate) wants: u8,
    pub(crate) repeats: u8,
    pub(crate) crashes: u8,
    pub(crate) without: Option<Guard>,
}

/// What is true.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    clients: BTreeMap<Client, Peer>,
    to_server: BTreeSet<Message>,
    to_clients: BTreeSet<(Client, Grant)>,
    disk: (Option<Client>, Grant),
    repeats: u8,
    crashes: u8,
}

/// A client, as it truly is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    wants: u8,
    asking: bool,
    holding: Option<Grant>,
    /// The newest grant that was given back: what is not newer is an old message.
    done: Grant,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A client begins to want the lock.
    Want(Client),
    /// A client that waits asks again.
    AskAgain(Client),
    /// A client has done what it wanted the lock for.
    Finish(Client),
    /// The server hears a message.
    Hear(Message),
    /// The server hears a message, and will hear it again.
    HearTwice(Message),
    /// A client hears that the lock is its own.
    Receive(Client, Grant),
    /// The server's timer fires.
    Remind,
    /// The server dies and comes back.
    Crash,
}

impl Model for Scope {
    type Machine = Server;
    type World = World;
    type Action = Action;
    type Effect = Effect;

    fn initial(&self) -> (Server, World) {
        let peer = Peer { wants: self.wants, asking: false, holding: None, done: 0 };
        let world = World {
            clients: (0..self.clients).map(|id| (id, peer.clone())).collect(),
            to_server: BTreeSet::new(),
            to_clients: BTreeSet::new(),
            disk: (None, 0),
            repeats: self.repeats,
            crashes: self.crashes,
        };
        (Server::recover(world.disk, self.without), world)
    }

    fn actions(&self, server: &Server, world: &World, actions: &mut Vec<Action>) {
        for (&id, peer) in &world.clients {
            match (peer.asking, peer.holding) {
                (_, Some(_)) => actions.push(Action::Finish(id)),
                (true, None) => actions.push(Action::AskAgain(id)),
                (false, None) if peer.wants > 0 => actions.push(Action::Want(id)),
                (false, None) => {}
            }
        }
        for &message in &world.to_server {
            actions.push(Action::Hear(message));
            if world.repeats > 0 {
                actions.push(Action::HearTwice(message));
            }
        }
        for &(client, grant) in &world.to_clients {
            actions.push(Action::Receive(client, grant));
        }
        // The timer is far slower than the network: it fires when nothing is on its way.
        let quiet = world.to_server.is_empty() && world.to_clients.is_empty();
        if quiet && server.reminds().is_some() {
            actions.push(Action::Remind);
        }
        if world.crashes > 0 {
            actions.push(Action::Crash);
        }
    }

    fn step(
        &self,
        server: &mut Server,
        world: &mut World,
        action: &Action,
        effects: &mut Vec<Effect>,
    ) {
        match *action {
            Action::Want(id) => {
                let peer = world.peer(id);
                peer.wants -= 1;
                peer.asking = true;
                world.to_server.insert(Message::Ask(id));
            }
            Action::AskAgain(id) => {
                world.to_server.insert(Message::Ask(id));
            }
            Action::Finish(id) => {
                let peer = world.peer(id);
                if let Some(grant) = peer.holding.take() {
                    peer.done = grant;
                    world.to_server.insert(Message::Release(id, grant));
                }
            }
            Action::Hear(message) => {
                world.to_server.remove(&message);
                effects.extend(server.handle(message));
            }
            Action::HearTwice(message) => {
                world.repeats -= 1;
                effects.extend(server.handle(message));
            }
            Action::Receive(id, grant) => {
                world.to_clients.remove(&(id, grant));
                let peer = world.peer(id);
                if grant > peer.done {
                    peer.asking = false;
                    peer.holding = Some(grant);
                }
            }
            Action::Remind => {
                let give = server.reminds().map(|(client, grant)| Effect::Give(client, grant));
                effects.extend(give);
            }
            Action::Crash => {
                world.crashes -= 1;
                // Its connections die with it, and what was on its way in them.
                world.to_clients.clear();
                *server = Server::recover(world.disk, self.without);
            }
        }
    }

    fn perform(&self, world: &mut World, effect: Effect) {
        match effect {
            Effect::Store(holder, grant) => world.disk = (holder, grant),
            Effect::Give(client, grant) => {
                world.to_clients.insert((client, grant));
            }
        }
    }

    fn check(&self, _: &Server, world: &World) -> Result<(), Violation> {
        let holding = world.clients.values().filter(|peer| peer.holding.is_some());
        Violation::unless(holding.count() <= 1, "the lock has one holder at a time")
    }

    fn check_effect(&self, _: &Server, world: &World, effect: &Effect) -> Result<(), Violation> {
        match *effect {
            Effect::Give(client, grant) => Violation::unless(
                world.disk == (Some(client), grant),
                "a grant is on disk before anybody hears of it",
            ),
            Effect::Store(..) => Ok(()),
        }
    }
}

impl Progress for Scope {
    fn is_rest(&self, server: &Server, world: &World) -> bool {
        let idle = |peer: &Peer| !peer.asking && peer.holding.is_none();
        server.holder.is_none() && world.to_server.is_empty() && world.clients.values().all(idle)
    }

    fn reliance(&self, action: &Action) -> Reliance {
        match action {
            Action::Want(_) | Action::HearTwice(_) | Action::Crash => Reliance::Chance,
            Action::AskAgain(_)
            | Action::Remind
            | Action::Finish(_)
            | Action::Hear(_)
            | Action::Receive(..) => Reliance::Good,
        }
    }
}

impl World {
    fn peer(&mut self, id: Client) -> &mut Peer {
        self.clients.get_mut(&id).expect("actions name clients of the scope")
    }
}
