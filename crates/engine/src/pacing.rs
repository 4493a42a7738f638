//! Where a pass that takes long lets others have the thread.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::model::Model;
use crate::turn::Turn;

/// Stops a pass that has a stack of its own, so that shorter ones can run whole meanwhile.
pub struct Pacing<M: Model> {
    model: Rc<M>,
    turn: Rc<Turn>,
    slice: Duration,
    resumed: Cell<Instant>,
}

impl<M: Model> Pacing<M> {
    /// Begins with a pass, whose time is measured by a job's turn.
    pub fn new(model: &Rc<M>, turn: &Rc<Turn>, slice: Duration) -> Self {
        Self { model: Rc::clone(model), turn: Rc::clone(turn), slice, resumed: Cell::new(Instant::now()) }
    }

    /// Stops between two layers. That happens after each, however short they are: how often a pass is left at least does
    /// not depend on the machine.
    pub fn pause(&self) {
        // Others would wait for what was only begun.
        self.model.catch_up();
        self.turn.rest();
        self.resumed.set(Instant::now());
    }

    /// Stops inside a layer, if that takes longer than a slice.
    pub fn pause_if_late(&self) {
        if self.resumed.get().elapsed() >= self.slice {
            self.pause();
        }
    }
}
