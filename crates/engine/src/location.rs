//! Where in a run a block can wait.

use crate::model::{Schema, Site};

/// A moment of a run that a block reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A module's arguments, before it runs.
    Input(Site),
    /// The gate after a module's arguments, where its body can be left out.
    Skip(Site),
    /// A module's output.
    Output(Site),
    /// `model.generator.streamer.output`: the prompt's ids, then each step's tokens.
    Streamed,
    /// `model.generator.output`: all ids, once generated.
    Generated,
    /// `tracer.result`: what the traced call returned.
    Result,
}

impl Location {
    /// Returns the locations that users count as one: those of all rounds of a loop.
    pub fn rounds(self, schema: &Schema) -> Vec<Self> {
        let (site, of): (Site, fn(Site) -> Self) = match self {
            Self::Input(site) => (site, Self::Input),
            Self::Skip(site) => (site, Self::Skip),
            Self::Output(site) => (site, Self::Output),
            Self::Streamed | Self::Generated | Self::Result => return vec![self],
        };
        schema.rounds(site).map(of).collect()
    }

    /// Returns the name that error messages use: `model.transformer.h.1.output`.
    #[must_use]
    pub fn name(self, schema: &Schema) -> String {
        let module = |site, suffix: &str| match schema.path(site) {
            Some(path) if !path.is_empty() => format!("model.{path}.{suffix}"),
            _ => format!("model.{suffix}"),
        };
        match self {
            Self::Input(site) => module(site, "input"),
            Self::Skip(site) => module(site, "skip"),
            Self::Output(site) => module(site, "output"),
            Self::Streamed => "model.generator.streamer.output".into(),
            Self::Generated => "model.generator.output".into(),
            Self::Result => "result".into(),
        }
    }
}

/// The order in which a forward pass reaches its modules, and who contains whom.
#[derive(Clone, Debug)]
pub struct Order {
    /// Entering and leaving of each module, by site; `None` where a pass never runs it.
    spans: Vec<Option<(u32, u32)>>,
}

impl Order {
    /// Derives the order from the schema's list of modules in order of entering.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let mut spans = vec![None; schema.sites()];
        let mut open: Vec<Site> = Vec::new();
        let mut clock = 0;
        let contains = |outer: Site, inner: Site| {
            // An operation contains the module that it calls.
            let called = schema.operation(outer).and_then(|operation| operation.calls);
            let mut at = Some(inner);
            while let Some(site) = at {
                if site == outer || Some(site) == called {
                    return true;
                }
                at = schema.parent(site);
            }
            false
        };
        let close = |spans: &mut Vec<Option<(u32, u32)>>, site: Site, clock: &mut u32| {
            if let Some(Some(span)) = spans.get_mut(site.0 as usize) {
                span.1 = *clock;
                *clock += 1;
            }
        };
        for &site in &schema.execution {
            while let Some(&last) = open.last() {
                if contains(last, site) {
                    break;
                }
                open.pop();
                close(&mut spans, last, &mut clock);
            }
            if let Some(slot) = spans.get_mut(site.0 as usize) {
                *slot = Some((clock, clock));
            }
            // One tick for the arguments, one for the skip gate.
            clock += 2;
            open.push(site);
        }
        while let Some(last) = open.pop() {
            close(&mut spans, last, &mut clock);
        }
        Self { spans }
    }

    /// Returns when a pass reaches a location, or `None` for what no pass reaches.
    #[must_use]
    pub fn of(&self, location: Location) -> Option<u32> {
        let span = |site: Site| self.spans.get(site.0 as usize).copied().flatten();
        match location {
            Location::Input(site) => span(site).map(|(enter, _)| enter),
            Location::Skip(site) => span(site).map(|(enter, _)| enter + 1),
            Location::Output(site) => span(site).map(|(_, leave)| leave),
            Location::Streamed | Location::Generated | Location::Result => None,
        }
    }

    /// Returns whether `inner` runs inside `outer`, or is it.
    #[must_use]
    pub fn contains(&self, outer: Site, inner: Site) -> bool {
        match (self.spans.get(outer.0 as usize), self.spans.get(inner.0 as usize)) {
            (Some(Some(outer)), Some(Some(inner))) => outer.0 <= inner.0 && inner.1 <= outer.1,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Attention, ModuleSchema, OperationSchema, Round};

    fn schema(modules: &[(&str, Option<u32>)], execution: &[u32]) -> Schema {
        Schema {
            modules: modules
                .iter()
                .map(|(path, parent)| ModuleSchema {
                    path: (*path).into(),
                    class: "Module".into(),
                    parent: parent.map(Site),
                    children: Vec::new(),
                })
                .collect(),
            execution: execution.iter().copied().map(Site).collect(),
            ..Schema::default()
        }
    }

    #[test]
    fn outputs_come_after_everything_inside() {
        // root { a { b }, c } where `c` runs first although it is declared last.
        let schema =
            schema(&[("", None), ("a", Some(0)), ("a.b", Some(1)), ("c", Some(0)), ("unused", Some(0))], &[0, 3, 1, 2]);
        let order = Order::new(&schema);
        let at = |location| order.of(location).unwrap();
        let expected = [
            Location::Input(Site(0)),
            Location::Skip(Site(0)),
            Location::Input(Site(3)),
            Location::Skip(Site(3)),
            Location::Output(Site(3)),
            Location::Input(Site(1)),
            Location::Skip(Site(1)),
            Location::Input(Site(2)),
            Location::Skip(Site(2)),
            Location::Output(Site(2)),
            Location::Output(Site(1)),
            Location::Output(Site(0)),
        ];
        assert!(expected.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
        assert_eq!(order.of(Location::Output(Site(4))), None);
        assert!(order.contains(Site(1), Site(2)) && !order.contains(Site(1), Site(3)));
    }

    #[test]
    fn rounds_of_a_loop_are_one_location_to_users() {
        // root { a, b }, whose forward calls the one and then the other in a loop, and binds what comes of it.
        let mut schema = schema(&[("", None), ("a", Some(0)), ("b", Some(0))], &[0, 3, 1, 4, 5, 2, 6]);
        for (index, called) in [(0, Site(1)), (1, Site(2))] {
            let round = Some(Round { index, count: 2, step: 2 });
            for (name, calls) in [("layer_0", Some(called)), ("x_0", None)] {
                schema.operations.push(OperationSchema { name, of: Site(0), when: None, calls, perhaps: false, round });
            }
        }
        let names: Vec<_> = schema.operations_of(Site(0), Attention::default()).collect();
        assert_eq!(names, [(Site(3), "layer_0"), (Site(4), "x_0")]);
        let rounds = Location::Output(Site(4)).rounds(&schema);
        assert_eq!(rounds, [Location::Output(Site(4)), Location::Output(Site(6))]);
        assert_eq!(Location::Input(Site(1)).rounds(&schema), [Location::Input(Site(1))]);
        assert_eq!(Location::Result.rounds(&schema), [Location::Result]);
        let order = Order::new(&schema);
        let at = |location| order.of(location).unwrap();
        assert!(at(Location::Output(Site(1))) < at(rounds[0]) && at(rounds[0]) < at(Location::Input(Site(2))));
        assert_eq!(rounds[1].name(&schema), "model.source.x_0.output");
    }

    #[test]
    fn an_operation_ends_after_the_module_that_it_calls() {
        // root { a }, where root's forward binds a name, calls `a`, and binds its outcome.
        let mut schema = schema(&[("", None), ("a", Some(0))], &[0, 2, 3, 1, 4]);
        for (name, calls) in [("x_0", None), ("self_a_0", Some(Site(1))), ("x_1", None)] {
            schema.operations.push(OperationSchema {
                name,
                of: Site(0),
                when: None,
                calls,
                perhaps: false,
                round: None,
            });
        }
        let order = Order::new(&schema);
        let at = |location| order.of(location).unwrap();
        let expected = [
            Location::Output(Site(2)),
            Location::Input(Site(3)),
            Location::Input(Site(1)),
            Location::Output(Site(1)),
            Location::Output(Site(3)),
            Location::Input(Site(4)),
            Location::Output(Site(0)),
        ];
        assert!(expected.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
        assert_eq!(Location::Output(Site(3)).name(&schema), "model.source.self_a_0.output");
    }
}
