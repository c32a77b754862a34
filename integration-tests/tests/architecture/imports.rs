//! Imports between the modules of a crate, read from the tokens of its files.
//!
//! A module imports another if it names an item that the other one defines: in a `use` declaration or by a path such as
//! `crate::host::routes::Route`, also inside macro calls. Items that a module re-exports belong to the module that defines
//! them; to re-export an item without using it is no import. A module consists of all modules below it: what they import,
//! it imports, and how they depend on each other inside of it is a question of its own. Tests are left out. Methods are
//! not followed: they need the type, which is named somewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    str::FromStr as _,
};

use anyhow::Context as _;
use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// Keywords in front of the name of an item.
const ITEMS: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"];
/// Keywords between `const` or `type` and the name of an item.
const QUALIFIERS: [&str; 5] = ["mut", "unsafe", "async", "extern", "fn"];
/// The largest number of re-exports that one path may pass through.
const MAX_REEXPORTS: usize = 16;

/// The modules of one crate target, and the imports between their files.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    modules: Vec<Module>,
}

/// Imports between modules that have the same parent: imported modules by importing module, each with one example.
type Graph = BTreeMap<usize, BTreeMap<usize, Example>>;

/// One place that causes an import.
#[derive(Debug)]
struct Example {
    file: PathBuf,
    path: String,
}

#[derive(Debug, Default)]
struct Module {
    /// As in `session::connected`; empty for the root.
    name: String,
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths of more than one segment.
    paths: Vec<Vec<String>>,
    /// Every identifier outside of `use` declarations.
    words: BTreeSet<String>,
}

/// One leaf of a `use` declaration.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Use {
    path: Vec<String>,
    /// The name in this module; none for a glob.
    name: Option<String>,
    is_public: bool,
}

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Module(usize),
    /// An item that this module defines.
    Item(usize),
}

impl Imports {
    /// Reads the module tree below a root file such as `src/lib.rs`.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut imports = Self::default();
        let directory = root.parent().context("the root file has no directory")?;
        imports.add_file("", root, directory, None)?;
        Ok(imports)
    }

    fn add_file(&mut self, name: &str, file: &Path, directory: &Path, parent: Option<usize>) -> anyhow::Result<usize> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let tokens = TokenStream::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        self.add_module(name, file, directory, parent, tokens)
    }

    fn add_module(
        &mut self,
        name: &str,
        file: &Path,
        directory: &Path,
        parent: Option<usize>,
        tokens: TokenStream,
    ) -> anyhow::Result<usize> {
        let this = self.modules.len();
        self.modules.push(Module { name: name.to_owned(), file: file.to_owned(), parent, ..Module::default() });

        let tokens = without_tests(tokens);
        let mut rest = Vec::new();
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let is_mod = matches!(&token, TokenTree::Ident(ident) if ident == "mod");
            match tokens.peek() {
                Some(TokenTree::Ident(child)) if is_mod => {
                    let child = child.to_string();
                    tokens.next();
                    let below = directory.join(&child);
                    let name = if name.is_empty() { child.clone() } else { format!("{name}::{child}") };
                    let module = match tokens.next() {
                        Some(TokenTree::Group(body)) => {
                            let file = self.modules[this].file.clone();
                            self.add_module(&name, &file, &below, Some(this), body.stream())?
                        }
                        _ => {
                            let (flat, nested) = (below.with_extension("rs"), below.join("mod.rs"));
                            let file = if flat.exists() { flat } else { nested };
                            self.add_file(&name, &file, &below, Some(this))?
                        }
                    };
                    self.modules[this].children.insert(child, module);
                }
                _ => rest.push(token),
            }
        }
        self.modules[this].items = items(&rest);
        collect_paths(&rest, &mut self.modules[this]);
        Ok(this)
    }

    /// Every circle, described by the imports in it.
    pub(crate) fn circles(&self) -> Vec<String> {
        let graph = self.graph();
        circles(&graph).iter().map(|circle| self.describe(circle, &graph)).collect()
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (from, module) in self.modules.iter().enumerate() {
            let is_used = |it: &&Use| !it.is_public || it.name.as_ref().is_some_and(|name| module.words.contains(name));
            let uses = module.uses.iter().filter(is_used).map(|it| (&it.path, it.name.is_some()));
            for (path, needs_item) in uses.chain(module.paths.iter().map(|path| (path, true))) {
                // A module that is imported counts by the items that are then named.
                let to = match self.resolve(from, path, 0) {
                    Some(Target::Item(to)) => to,
                    Some(Target::Module(to)) if !needs_item => to,
                    _ => continue,
                };
                if let Some((from, to)) = self.siblings(from, to) {
                    let example = || Example { file: module.file.clone(), path: path.join("::") };
                    graph.entry(from).or_default().entry(to).or_insert_with(example);
                }
            }
        }
        graph
    }

    /// The modules with the same parent that two modules are or belong to; none if one of the two belongs to the other.
    fn siblings(&self, a: usize, b: usize) -> Option<(usize, usize)> {
        let line = |module| {
            let mut line: Vec<usize> =
                std::iter::successors(Some(module), |it: &usize| self.modules[*it].parent).collect();
            line.reverse();
            line
        };
        line(a).into_iter().zip(line(b)).find(|(a, b)| a != b)
    }

    fn describe(&self, circle: &BTreeSet<usize>, graph: &Graph) -> String {
        let mut lines = String::new();
        for from in circle {
            for (to, Example { file, path }) in graph[from].iter().filter(|(to, _)| circle.contains(to)) {
                let (from, to) = (&self.modules[*from].name, &self.modules[*to].name);
                lines.push_str(&format!("    {from} imports {to}: {path} in {}\n", file.display()));
            }
        }
        lines
    }

    /// Follows a path that is written in a module.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => self.lookup(from, name, depth)?,
        };
        rest.iter().try_fold(start, |target, segment| match target {
            // What follows an item is a variant, a method or a field.
            Target::Item(_) => Some(target),
            Target::Module(module) if segment == "super" => self.modules[module].parent.map(Target::Module),
            Target::Module(module) if segment == "self" => Some(Target::Module(module)),
            Target::Module(module) => self.lookup(module, segment, depth),
        })
    }

    /// Finds a name that a module defines, imports or re-exports.
    fn lookup(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        if depth > MAX_REEXPORTS {
            return None;
        }
        let this = &self.modules[module];
        if let Some(child) = this.children.get(name) {
            return Some(Target::Module(*child));
        }
        if this.items.contains(name) {
            return Some(Target::Item(module));
        }
        let named = this.uses.iter().filter(|it| it.name.as_deref() == Some(name));
        // A declaration such as `use dns::Name` means another crate unless the module has a child of that name.
        let is_own = |path: &[String]| path.first().is_some_and(|first| first != name || path.len() > 1);
        let found = named.filter(|it| is_own(&it.path)).find_map(|it| self.resolve(module, &it.path, depth + 1));
        found.or_else(|| {
            let mut globs = this.uses.iter().filter(|it| it.name.is_none());
            globs.find_map(|glob| match self.resolve(module, &glob.path, depth + 1) {
                Some(Target::Module(to)) if to != module => self.lookup(to, name, depth + 1),
                _ => None,
            })
        })
    }
}

/// The names of the items that these tokens of a module define.
fn items(tokens: &[TokenTree]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_expected = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                let is_keyword = ITEMS.contains(&word.as_str()) || QUALIFIERS.contains(&word.as_str());
                if is_expected && !is_keyword {
                    names.insert(word.clone());
                }
                is_expected = ITEMS.contains(&word.as_str()) || is_expected && is_keyword;
            }
            // `macro_rules! name`, `extern "C" fn`
            TokenTree::Punct(punct) if punct.as_char() == '!' => {}
            TokenTree::Literal(_) => {}
            _ => is_expected = false,
        }
    }
    names
}

/// Leaves out what is compiled for tests only.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_attribute = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        match tokens.peek() {
            Some(TokenTree::Group(group)) if is_attribute && is_for_tests(group) => {
                // The item ends with its body or with a semicolon.
                for token in tokens.by_ref() {
                    match token {
                        TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => break,
                        TokenTree::Punct(punct) if punct.as_char() == ';' => break,
                        _ => {}
                    }
                }
            }
            _ => kept.push(match token {
                TokenTree::Group(group) => {
                    TokenTree::Group(Group::new(group.delimiter(), without_tests(group.stream())))
                }
                token => token,
            }),
        }
    }
    kept.into_iter().collect()
}

fn is_for_tests(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,") || text == "test" || text.ends_with("::test")
}

/// Adds the `use` declarations and the paths of these tokens to a module.
fn collect_paths(tokens: &[TokenTree], module: &mut Module) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(ident) if ident == "use" && !follows_path(tokens, at) => {
                let length = tokens[at..].iter().take_while(|it| !is_punct(Some(it), ';')).count();
                flatten(&tokens[at + 1..at + length], &[], is_public(&tokens[..at]), &mut module.uses);
                at += length;
            }
            TokenTree::Ident(_) if !follows_path(tokens, at) => {
                let (path, length) = path_at(&tokens[at..]);
                module.words.extend(path.first().cloned());
                if path.len() > 1 {
                    module.paths.push(path);
                }
                at += length;
            }
            TokenTree::Group(group) => {
                collect_paths(&group.stream().into_iter().collect::<Vec<_>>(), module);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether these tokens end with `pub` or with `pub(...)`.
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [.., TokenTree::Ident(word)] => word == "pub",
        [.., TokenTree::Ident(word), TokenTree::Group(_)] => word == "pub",
        _ => false,
    }
}

/// Whether the token before is `::` or `.`: then this one begins neither a path nor a declaration.
fn follows_path(tokens: &[TokenTree], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    // A range such as `..limits::MAX` ends with a dot, too.
    let is_range = at >= 2 && is_punct(tokens.get(at - 2), '.');
    is_punct(before, ':') && at >= 2 && is_punct(tokens.get(at - 2), ':') || is_punct(before, '.') && !is_range
}

/// The segments of the path at the beginning, and the number of its tokens.
fn path_at(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let (mut path, mut at) = (Vec::new(), 0);
    while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
        path.push(segment.to_string());
        at += 1;
        if !is_separator(&tokens[at..]) {
            break;
        }
        at += 2;
    }
    (path, at.max(1))
}

/// Turns a tree such as `a::{b, c as d, e::*}` into its leaves.
fn flatten(tokens: &[TokenTree], prefix: &[String], is_public: bool, leaves: &mut Vec<Use>) {
    let (path, mut at) = path_at(tokens);
    let path: Vec<String> = prefix.iter().cloned().chain(path).collect();
    // Of `a::{`, the separator belongs to the path; `::a` names another crate.
    while is_punct(tokens.get(at), ':') {
        at += 1;
    }
    match tokens.get(at) {
        Some(TokenTree::Group(group)) => {
            let list: Vec<TokenTree> = group.stream().into_iter().collect();
            for tree in list.split(|it| is_punct(Some(it), ',')).filter(|tree| !tree.is_empty()) {
                flatten(tree, &path, is_public, leaves);
            }
        }
        Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => leaves.push(Use { path, name: None, is_public }),
        Some(TokenTree::Ident(word)) if word == "as" => {
            let name = tokens.get(at + 1).map(ToString::to_string);
            leaves.push(Use { path, name, is_public });
        }
        _ => {
            let is_self = path.last().is_some_and(|last| last == "self") && path.len() > 1;
            let path = if is_self { path[..path.len() - 1].to_vec() } else { path };
            let name = path.last().cloned();
            leaves.push(Use { path, name, is_public });
        }
    }
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    let is_joint = matches!(tokens.first(), Some(TokenTree::Punct(it)) if it.spacing() == Spacing::Joint);
    is_joint
        && is_punct(tokens.first(), ':')
        && is_punct(tokens.get(1), ':')
        && matches!(tokens.get(2), Some(TokenTree::Ident(_)))
}

fn is_punct(token: Option<&TokenTree>, expected: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == expected)
}

/// The strongly connected components of more than one module.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<usize>> {
    let reachable: BTreeMap<usize, BTreeSet<usize>> = graph
        .keys()
        .map(|from| {
            let (mut reached, mut open) = (BTreeSet::new(), vec![*from]);
            while let Some(module) = open.pop() {
                open.extend(graph.get(&module).into_iter().flat_map(BTreeMap::keys).filter(|to| reached.insert(**to)));
            }
            (*from, reached)
        })
        .collect();
    let reaches = |from: &usize, to: &usize| reachable.get(from).is_some_and(|it| it.contains(to));
    let on_circles = graph.keys().filter(|module| reaches(module, module));
    on_circles.map(|it| graph.keys().copied().filter(|to| reaches(it, to) && reaches(to, it)).collect()).collect()
}

#[test]
fn imports_lead_to_the_module_that_defines_the_item() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
    std::fs::create_dir(directory.path().join("nat"))?;
    write("lib.rs", "mod clients; mod nat; mod wire; pub use nat::Table; pub(crate) const LIMIT: usize = 1;")?;
    write("nat/mod.rs", "mod table; pub use self::table::Table; pub(crate) struct Timeout; table::clear!();")?;
    write(
        "nat/table.rs",
        "mod row { pub use super::Table; } pub struct Table(super::Timeout); #[cfg(test)] mod tests { use crate::clients::Client; }",
    )?;
    write(
        "clients.rs",
        "use crate::{Table, nat::{self, *}}; use dns::Name; use super::wire as format;\n\
         pub struct Client(Table); fn f() { println!(\"{}\", format::read(0..super::LIMIT)); }",
    )?;
    write("wire.rs", "pub fn read() -> crate::clients::Client { x.nat::<u8>() } pub use crate::nat::Timeout;")?;

    let imports = Imports::read(&directory.path().join("lib.rs"))?;
    let name = |module: &usize| imports.modules[*module].name.as_str();
    let graph = imports.graph();
    let edges = graph.iter().flat_map(|(from, all)| all.keys().map(move |to| (name(from), name(to))));
    let edges: BTreeSet<(&str, &str)> = edges.collect();
    assert_eq!(edges, BTreeSet::from([("clients", "nat"), ("clients", "wire"), ("wire", "clients")]));

    let file = |name: &str| directory.path().join(name).display().to_string();
    let expected = format!(
        "    clients imports wire: format::read in {}\n    wire imports clients: crate::clients::Client in {}\n",
        file("clients.rs"),
        file("wire.rs")
    );
    assert_eq!(imports.circles(), [expected]);
    Ok(())
}
