//! The sockets of a namespace, and the rooms they are in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cluster::Member;
use super::recovery::Recovery;
use super::socket::Socket;
use crate::config;

/// Whom something is for: everybody in one of the rooms, or everybody if none is named, but for
/// those in one of the other rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) rooms: Vec<Arc<str>>,
    pub(super) except: Vec<Arc<str>>,
}

impl Target {
    pub(super) fn bytes(&self) -> usize {
        self.rooms.iter().chain(&self.except).map(|room| room.len()).sum()
    }

    /// Whether somebody who is in these rooms is meant.
    pub(super) fn means(&self, rooms: &[Arc<str>]) -> bool {
        let is_in = |room| rooms.contains(room);
        (self.rooms.is_empty() || self.rooms.iter().any(is_in)) && !self.except.iter().any(is_in)
    }
}

#[derive(Debug)]
struct Entered {
    socket: Socket,
    /// Besides the room of its own, which is named by its id.
    rooms: Vec<Arc<str>>,
}

/// The sockets of a namespace by their ids, and the rooms they are in. Each socket is in a room of
/// its own, which takes no memory.
#[derive(Debug)]
pub(super) struct Table {
    sockets: HashMap<Arc<str>, Entered>,
    rooms: HashMap<Arc<str>, HashMap<Arc<str>, Socket>>,
    /// How many sockets there are that are not connected yet.
    pub(super) expected: usize,
    pub(super) recovery: Option<Recovery>,
    /// Is told of rooms that begin and end.
    member: Arc<Member>,
}

impl Table {
    pub(super) fn new(recovery: &config::Recovery, member: Arc<Member>) -> Self {
        Self {
            sockets: HashMap::new(),
            rooms: HashMap::new(),
            expected: 0,
            recovery: Recovery::new(recovery),
            member,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.expected == 0
    }

    pub(super) fn enter(&mut self, socket: &Socket) {
        let member = Entered { socket: socket.clone(), rooms: Vec::new() };
        self.sockets.insert(Arc::clone(socket.shared_id()), member);
        self.member.room_begins(socket.shared_id(), true);
    }

    /// Takes a socket out of all of its rooms, which are returned; `None` if it was not there.
    pub(super) fn leave(&mut self, socket: &Socket) -> Option<Vec<Arc<str>>> {
        let id = socket.shared_id();
        // A client that was recovered has the id of the socket it had before.
        if self.sockets.get(id).is_none_or(|member| member.socket != *socket) {
            return None;
        }
        let member = self.sockets.remove(id)?;
        self.member.room_ends(id, true);
        for room in &member.rooms {
            self.take_out(id, room);
        }
        Some(member.rooms)
    }

    /// Puts a socket into a room. Nothing happens if it is not connected.
    pub(super) fn join(&mut self, id: &Arc<str>, room: Arc<str>) {
        let Some(member) = self.sockets.get_mut(id) else { return };
        if room == *id || member.rooms.contains(&room) {
            return;
        }
        member.rooms.push(Arc::clone(&room));
        let members = self.rooms.entry(room).or_insert_with_key(|room| {
            self.member.room_begins(room, false);
            HashMap::new()
        });
        members.insert(Arc::clone(id), member.socket.clone());
    }

    /// Takes a socket out of a room.
    pub(super) fn leave_room(&mut self, id: &Arc<str>, room: &str) {
        let Some(member) = self.sockets.get_mut(id) else { return };
        member.rooms.retain(|joined| **joined != *room);
        self.take_out(id, room);
    }

    fn take_out(&mut self, id: &Arc<str>, room: &str) {
        if let Some(members) = self.rooms.get_mut(room) {
            members.remove(id);
            if members.is_empty() {
                self.rooms.remove(room);
                self.member.room_ends(room, false);
            }
        }
    }

    /// The rooms a socket is in, the one of its own first.
    pub(super) fn rooms_of(&self, id: &Arc<str>) -> Vec<Arc<str>> {
        let Some(member) = self.sockets.get(id) else { return Vec::new() };
        std::iter::once(id).chain(&member.rooms).cloned().collect()
    }

    /// All rooms, those of single sockets left out.
    pub(super) fn rooms(&self) -> Vec<Arc<str>> {
        self.rooms.keys().cloned().collect()
    }

    /// All rooms, those of single sockets among them.
    pub(super) fn rooms_and_ids(&self) -> Vec<Arc<str>> {
        self.rooms.keys().chain(self.sockets.keys()).cloned().collect()
    }

    pub(super) fn has_room(&self, room: &str) -> bool {
        self.rooms.contains_key(room) || self.sockets.contains_key(room)
    }

    /// Calls `visit` with each socket that is meant, once.
    pub(super) fn select(&self, target: &Target, mut visit: impl FnMut(&Socket)) {
        let excluded = |id: &Arc<str>| target.except.iter().any(|room| self.is_in(id, room));
        let mut visit = |id: &Arc<str>, socket: &Socket| {
            if target.except.is_empty() || !excluded(id) {
                visit(socket);
            }
        };
        match &*target.rooms {
            [] => self.sockets.iter().for_each(|(id, member)| visit(id, &member.socket)),
            [room] => self.members(room).for_each(|(id, socket)| visit(id, socket)),
            rooms => {
                let mut seen = HashSet::new();
                for (id, socket) in rooms.iter().flat_map(|room| self.members(room)) {
                    if seen.insert(id) {
                        visit(id, socket);
                    }
                }
            }
        }
    }

    fn is_in(&self, id: &Arc<str>, room: &Arc<str>) -> bool {
        id == room || self.rooms.get(room).is_some_and(|members| members.contains_key(id))
    }

    fn members<'a>(&'a self, room: &Arc<str>) -> impl Iterator<Item = (&'a Arc<str>, &'a Socket)> {
        let own = self.sockets.get_key_value(room).map(|(id, member)| (id, &member.socket));
        own.into_iter().chain(self.rooms.get(room).into_iter().flatten())
    }
}
