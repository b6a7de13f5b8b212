//! Blocks, lists, includes and variables: from the text of a file to a [`Table`].

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Place};
use super::lex::{Cursor, Fault, Mark, Scalar, is_blank, is_line_end, is_space};
use super::value::{Entry, Node, Table, Value};

/// Blocks and lists may be nested this deep, counting through variables. Real files use about 6.
pub const MAXIMUM_DEPTH: usize = 64;
/// Files may include each other this deep.
pub const MAXIMUM_INCLUDE_DEPTH: usize = 16;
/// Values that all variables and includes may bring in together; an account file of a very large
/// system has some 100,000. It bounds what a chain of variables that double each other can cost.
pub const MAXIMUM_VALUES: usize = 4_000_000;
/// Syntax mistakes told at once; behind so many the file is of another kind.
pub const MAXIMUM_SYNTAX_MISTAKES: usize = 50;
/// A file may be this long, in bytes.
pub const MAXIMUM_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Looks up an environment variable.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The result of reading a file: what could be read, and every mistake.
#[derive(Debug)]
pub struct Parsed {
    /// Everything that was understood.
    pub table: Table,
    /// The mistakes, in order.
    pub mistakes: Vec<Diagnostic>,
    /// Whether the blocks fit together, so that what was understood means what it seems to.
    pub structure_intact: bool,
}

/// Reads the file at `path` with everything it includes.
pub fn parse_file(path: &Path, environment: &Environment<'_>) -> Parsed {
    let mut shared = Shared::new(environment);
    let text = match read(path) {
        Ok(text) => text,
        Err(message) => {
            let mistakes = vec![Diagnostic::general(message)];
            return Parsed {
                table: Table::default(),
                mistakes,
                structure_intact: false,
            };
        }
    };
    shared.files.push(identity(path));
    let table = shared.document(&text, &path.display().to_string(), path.parent());
    Parsed {
        table,
        mistakes: shared.mistakes,
        structure_intact: shared.structure_intact,
    }
}

/// Reads a configuration from a text; `file` is the name shown in mistakes. It cannot include files.
pub fn parse_text(text: &str, file: &str, environment: &Environment<'_>) -> Parsed {
    let mut shared = Shared {
        includes: false,
        ..Shared::new(environment)
    };
    let table = shared.document(text, file, None);
    Parsed {
        table,
        mistakes: shared.mistakes,
        structure_intact: shared.structure_intact,
    }
}

/// Reads one value, such as that of an environment variable.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_value(text: &str, environment: &Environment<'_>) -> Result<Value, String> {
    let mut shared = Shared {
        includes: false,
        ..Shared::new(environment)
    };
    shared.value_of_variable(text)
}

/// Reads a file whole; it may be a pipe.
fn read(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("open {}: {}", path.display(), reason(&error));
    let file = std::fs::File::open(path).map_err(told)?;
    let mut bytes = Vec::new();
    file.take(MAXIMUM_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(told)?;
    if bytes.len() as u64 > MAXIMUM_FILE_BYTES {
        return Err(format!(
            "{} is longer than {MAXIMUM_FILE_BYTES} bytes",
            path.display()
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let before = error
                .as_bytes()
                .get(..error.utf8_error().valid_up_to())
                .unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let column = 1 + before
                .iter()
                .rev()
                .take_while(|byte| **byte != b'\n')
                .count();
            let file = path.display();
            Err(format!(
                "{file}:{line}:{column}: Parse error: this is not UTF-8; save the file as UTF-8"
            ))
        }
    }
}

/// The cause of an IO error in lower case and without its number, as nats-server words it.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

/// What tells one file from another, to find files that include themselves.
fn identity(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What the readers of a file and of its includes have in common.
struct Shared<'e> {
    environment: &'e Environment<'e>,
    mistakes: Vec<Diagnostic>,
    structure_intact: bool,
    /// Whether files may be included.
    includes: bool,
    /// The files being read, outermost first.
    files: Vec<PathBuf>,
    /// The environment variables being read, outermost first.
    variables: Vec<String>,
    /// Values that may still be brought in.
    budget: usize,
}

impl<'e> Shared<'e> {
    fn new(environment: &'e Environment<'e>) -> Self {
        Self {
            environment,
            mistakes: Vec::new(),
            structure_intact: true,
            includes: true,
            files: Vec::new(),
            variables: Vec::new(),
            budget: MAXIMUM_VALUES,
        }
    }

    fn document(&mut self, text: &str, file: &str, folder: Option<&Path>) -> Table {
        let mut reader = Reader {
            cursor: Cursor::new(text),
            file: file.into(),
            folder: folder.map(Path::to_owned).unwrap_or_default(),
            blocks: vec![Block::default()],
            depth: 0,
            secret: false,
            shared: self,
        };
        reader.top();
        reader.blocks.pop().unwrap_or_default().finish()
    }

    /// Reads the value of an environment variable; no keys are in its scope, and its mistakes are its
    /// own.
    fn value_of_variable(&mut self, text: &str) -> Result<Value, String> {
        let before = self.mistakes.len();
        let intact = std::mem::replace(&mut self.structure_intact, true);
        let mut reader = Reader {
            cursor: Cursor::new(text),
            file: "value".into(),
            folder: PathBuf::new(),
            blocks: Vec::new(),
            depth: 0,
            secret: false,
            shared: self,
        };
        let value = reader.single_value();
        self.structure_intact = intact;
        let first = self.mistakes.drain(before..).next();
        match (first, value) {
            (Some(mistake), _) => Err(mistake.message),
            (None, value) => value.map(|node| node.value).map_err(|fault| fault.message),
        }
    }

    /// Takes a copy of a value from the budget.
    fn spend(&mut self, value: &Value, depth: usize) -> Result<(), &'static str> {
        let (count, height) = measure(value);
        if depth + height > MAXIMUM_DEPTH {
            return Err("blocks are nested too deep");
        }
        self.budget = self
            .budget
            .checked_sub(count)
            .ok_or("variables bring in too many values")?;
        Ok(())
    }
}

/// Number of values in `value`, and how deep they are nested.
fn measure(value: &Value) -> (usize, usize) {
    let combine = |sum: (usize, usize), node: &Node| {
        let (count, height) = measure(&node.value);
        (sum.0 + count, sum.1.max(height + 1))
    };
    match value {
        Value::List(elements) => elements.iter().fold((1, 0), combine),
        Value::Table(table) => table
            .entries
            .iter()
            .map(|entry| &entry.node)
            .fold((1, 0), combine),
        Value::Text(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Moment(_) => (1, 0),
    }
}

/// A block being read. The last of several equal keys counts.
#[derive(Default)]
struct Block {
    entries: Vec<Option<Entry>>,
    index: HashMap<String, usize>,
}

impl Block {
    fn insert(&mut self, entry: Entry) {
        if let Some(former) = self.index.insert(entry.key.clone(), self.entries.len())
            && let Some(slot) = self.entries.get_mut(former)
        {
            *slot = None;
        }
        self.entries.push(Some(entry));
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let slot = self.entries.get_mut(*self.index.get(key)?)?;
        slot.as_mut().map(|entry| &mut entry.node)
    }

    fn finish(self) -> Table {
        Table {
            entries: self.entries.into_iter().flatten().collect(),
        }
    }
}

/// Whether the value of `key` is one that no message may show.
fn is_secret(key: &str) -> bool {
    ["pass", "password", "token"]
        .iter()
        .any(|secret| key.eq_ignore_ascii_case(secret))
}

/// A key, or the word `include` in its place.
enum Key {
    Named(String),
    Include,
}

/// Reads one text.
struct Reader<'s, 'e, 't> {
    cursor: Cursor<'t>,
    file: Arc<str>,
    /// Where includes are looked for.
    folder: PathBuf,
    /// The blocks being read, outermost first: the scopes of variables.
    blocks: Vec<Block>,
    /// Nesting of blocks and lists here.
    depth: usize,
    /// The value being read belongs to a password or token, so that a `$` in it may be a part of it
    /// that no message must show.
    secret: bool,
    shared: &'s mut Shared<'e>,
}

impl Reader<'_, '_, '_> {
    /// The top level. Braces around it, as in a JSON file, open no block.
    fn top(&mut self) {
        let mut braces = 0_usize;
        while self.shared.structure_intact {
            self.cursor.take_while(is_space);
            if self.cursor.skip_comment() {
                continue;
            }
            match self.cursor.peek() {
                None => break,
                Some('{') => {
                    self.cursor.next();
                    braces += 1;
                }
                Some('}') if braces > 0 => {
                    self.cursor.next();
                    braces -= 1;
                    self.skip_separators();
                }
                // Left-over closing braces at the very end do no harm in nats-server either.
                Some('}') if self.cursor.rest().chars().all(|c| is_space(c) || c == '}') => break,
                Some(_) => {
                    let entry = self.top_entry(braces);
                    self.recover(entry);
                }
            }
        }
    }

    fn skip_separators(&mut self) {
        self.cursor
            .take_while(|c| is_space(c) || matches!(c, ',' | ';'));
    }

    fn top_entry(&mut self, braces: usize) -> Result<(), Fault> {
        self.refuse_lone_slash()?;
        self.entry(false)?;
        self.end_of_entry(false, |c| braces == 0 && c == '}')
    }

    /// A `/` that starts no comment cannot start a key.
    fn refuse_lone_slash(&self) -> Result<(), Fault> {
        if self.cursor.peek() == Some('/') {
            return Err(self
                .cursor
                .fault("a key cannot start with '/'; a comment starts with // or #"));
        }
        Ok(())
    }

    /// What may follow a value: a line end, `,` `;` or a comment. `swallows` says what else is
    /// taken; a closing brace that is not taken stays for the caller.
    fn end_of_entry(
        &mut self,
        in_block: bool,
        swallows: impl Fn(char) -> bool,
    ) -> Result<(), Fault> {
        loop {
            self.cursor.take_while(is_blank);
            if self.cursor.skip_comment() {
                return Ok(());
            }
            match self.cursor.peek() {
                None | Some('}') if self.cursor.peek().is_none_or(|c| !swallows(c)) => {
                    return Ok(());
                }
                Some(c) if is_line_end(c) || matches!(c, ',' | ';') || swallows(c) => {
                    self.cursor.next();
                    return Ok(());
                }
                // nats-server takes a slash for a separator in a block, and for a blank around it.
                Some('/') => {
                    self.cursor.next();
                    if in_block {
                        return Ok(());
                    }
                }
                _ => {
                    let found = self.cursor.describe_next();
                    let message = format!(
                        "{found} follows a value; start a new line or put a comma between, and quote a value that holds blanks"
                    );
                    return Err(self.cursor.fault(message));
                }
            }
        }
    }

    /// One `key value` or `include` of the innermost block.
    fn entry(&mut self, in_block: bool) -> Result<(), Fault> {
        let start = self.cursor.mark();
        match self.key(in_block)? {
            Key::Include => self.include(start),
            Key::Named(key) => {
                self.separator(&key, in_block)?;
                self.secret = is_secret(&key);
                let value = self.value(Some(start))?;
                if let Some(mut node) = value {
                    node.place = self.place(start);
                    if let Some(block) = self.blocks.last_mut() {
                        block.insert(Entry { key, node });
                    }
                }
                Ok(())
            }
        }
    }

    fn key(&mut self, in_block: bool) -> Result<Key, Fault> {
        match self.cursor.peek() {
            Some(found @ (':' | '=')) => Err(self
                .cursor
                .fault(format!("a key is missing before {found:?}"))),
            Some(']') if in_block => Err(self
                .cursor
                .fault("']' ends no list here; a block ends with '}'")),
            Some('"' | '\'') => self.cursor.quoted(false).map(Key::Named),
            _ => {
                let start = self.cursor.mark();
                self.cursor.next();
                self.cursor
                    .take_while(|c| !is_space(c) && !matches!(c, ':' | '='));
                let name = self.cursor.since(start).to_owned();
                let spaced = self.cursor.peek().is_some_and(is_space);
                if spaced && name.eq_ignore_ascii_case("include") {
                    return Ok(Key::Include);
                }
                Ok(Key::Named(name))
            }
        }
    }

    /// Skips to the value of `key`. In a block it may stand on a line of its own.
    fn separator(&mut self, key: &str, in_block: bool) -> Result<(), Fault> {
        let behind_key = self.cursor.mark();
        self.cursor.take_while(is_space);
        let separated = self.cursor.take(':') || self.cursor.take('=');
        if in_block {
            self.cursor.take_while(is_space);
        } else if separated {
            self.cursor.take_while(is_blank);
        }
        let missing = match self.cursor.peek() {
            None => !separated || in_block,
            Some(c) => is_line_end(c) || (in_block && matches!(c, ',' | '}')),
        };
        if missing {
            let message = format!("{key:?} has no value; write {key}: \"\" for an empty one");
            return Err(self.cursor.fault_at(behind_key, message));
        }
        Ok(())
    }

    /// One value; none if it is a variable that could not be read, which is told already.
    fn value(&mut self, key: Option<Mark>) -> Result<Option<Node>, Fault> {
        let start = self.cursor.mark();
        let place = self.place(start);
        let scalar = match self.cursor.peek() {
            Some('{') => {
                return self
                    .block(start)
                    .map(|table| Some(Node::new(Value::Table(table), place)));
            }
            Some('[') => {
                return self
                    .list(start)
                    .map(|list| Some(Node::new(Value::List(list), place)));
            }
            Some('"') => Scalar::Value(Value::Text(self.cursor.quoted(true)?)),
            Some('\'') => Scalar::Value(Value::Text(self.cursor.quoted(false)?)),
            Some('(') => Scalar::Value(Value::Text(self.cursor.block_string()?)),
            Some('.') => {
                return Err(self.cursor.fault(
                    "a number starts with a digit, as in 0.5; quote the value if it is a string",
                ));
            }
            Some(c) if c == '-' || c.is_ascii_digit() => self.cursor.number()?,
            _ => self.cursor.bare(start)?,
        };
        match scalar {
            Scalar::Value(value) => Ok(Some(Node::new(value, place))),
            Scalar::Variable(name) => {
                let value = self.variable(&name);
                Ok(self
                    .told(key.unwrap_or(start), value)
                    .map(|value| Node::new(value, place)))
            }
        }
    }

    fn deeper(&mut self, start: Mark) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAXIMUM_DEPTH {
            let message = format!("blocks are nested deeper than {MAXIMUM_DEPTH}");
            return Err(Fault {
                fatal: true,
                ..self.cursor.fault_at(start, message)
            });
        }
        Ok(())
    }

    fn block(&mut self, start: Mark) -> Result<Table, Fault> {
        self.deeper(start)?;
        self.cursor.next();
        self.blocks.push(Block::default());
        let closed = self.block_entries(start);
        self.depth -= 1;
        let block = self.blocks.pop().unwrap_or_default();
        closed.map(|()| block.finish())
    }

    fn block_entries(&mut self, start: Mark) -> Result<(), Fault> {
        while self.shared.structure_intact {
            self.cursor.take_while(is_space);
            if self.cursor.skip_comment() {
                continue;
            }
            // nats-server drops a slash before a key.
            self.cursor.take('/');
            match self.cursor.peek() {
                None => return Err(self.unclosed(start, '{', '}')),
                Some('}') => {
                    self.cursor.next();
                    return Ok(());
                }
                Some(_) => {
                    let entry = self
                        .entry(true)
                        .and_then(|()| self.end_of_entry(true, |_| false));
                    self.recover(entry);
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, start: Mark) -> Result<Vec<Node>, Fault> {
        self.deeper(start)?;
        self.cursor.next();
        let mut elements = Vec::new();
        while self.shared.structure_intact {
            self.cursor.take_while(is_space);
            if self.cursor.skip_comment() {
                continue;
            }
            match self.cursor.peek() {
                None => return Err(self.unclosed(start, '[', ']')),
                Some(']') => {
                    self.cursor.next();
                    break;
                }
                Some(_) => {
                    let element = self.element();
                    if let Some(node) = self.recover(element).flatten() {
                        elements.push(node);
                    }
                }
            }
        }
        self.depth -= 1;
        Ok(elements)
    }

    /// One element of a list, and the comma or line end behind it.
    fn element(&mut self) -> Result<Option<Node>, Fault> {
        if let Some(found @ (',' | '/')) = self.cursor.peek() {
            let advice = if found == ',' {
                "remove it"
            } else {
                "quote a value that starts with it"
            };
            return Err(self
                .cursor
                .fault(format!("{found:?} is not a value; {advice}")));
        }
        let node = self.value(None)?;
        loop {
            self.cursor.take_while(is_blank);
            if self.cursor.skip_comment() {
                continue;
            }
            match self.cursor.peek() {
                None | Some(']') => return Ok(node),
                Some(c) if is_line_end(c) || matches!(c, ',' | '/') => {
                    self.cursor.next();
                    return Ok(node);
                }
                Some(_) => {
                    let found = self.cursor.describe_next();
                    let message = format!(
                        "{found} follows an element of a list; put a comma or a line end between, or ']' behind the last"
                    );
                    return Err(self.cursor.fault(message));
                }
            }
        }
    }

    fn unclosed(&self, start: Mark, open: char, close: char) -> Fault {
        let message = format!("this {open:?} is never closed; add the {close:?} that ends it");
        Fault {
            fatal: true,
            ..self.cursor.fault_at(start, message)
        }
    }

    /// The value of one variable, with nothing behind it.
    fn single_value(&mut self) -> Result<Node, Fault> {
        self.cursor.take_while(is_blank);
        if self.cursor.peek().is_some_and(is_line_end) {
            return Err(self.cursor.fault("the value starts with a line end"));
        }
        let node = self.value(None)?;
        self.end_of_entry(false, |c| c == '}')?;
        self.skip_separators();
        if self.cursor.peek().is_some() {
            return Err(self.cursor.fault("more than one value"));
        }
        node.ok_or_else(|| self.cursor.fault("no value"))
    }

    /// A variable: a key that was read before in this block or one around it, or an environment
    /// variable, whose value is read like one in a file.
    fn variable(&mut self, name: &str) -> Result<Value, String> {
        // A bcrypt hash needs no quotes.
        if name.starts_with("2a$") {
            return Ok(Value::Text(format!("${name}")));
        }
        let found = self
            .blocks
            .iter_mut()
            .rev()
            .find_map(|block| block.get_mut(name));
        if let Some(node) = found {
            node.referenced = true;
            self.shared.spend(&node.value, self.depth)?;
            return Ok(node.value.clone());
        }
        if self.shared.variables.iter().any(|outer| outer == name) {
            return Err(format!("the environment variable {name} refers to itself"));
        }
        let Some(text) = (self.shared.environment)(name) else {
            let name = if self.secret { "of this name" } else { name };
            return Err(format!(
                "variable {name} is neither a key above nor set in the environment; quote the value if the $ belongs to it"
            ));
        };
        if self.shared.variables.len() >= MAXIMUM_DEPTH {
            return Err("environment variables refer to each other too deep".to_owned());
        }
        self.shared.variables.push(name.to_owned());
        let value = self.shared.value_of_variable(&text);
        self.shared.variables.pop();
        let value = value.map_err(|message| format!("environment variable {name}: {message}"))?;
        self.shared.spend(&value, self.depth)?;
        Ok(value)
    }

    /// `include path`: the keys of another file, as if they stood here.
    fn include(&mut self, start: Mark) -> Result<(), Fault> {
        self.cursor.take_while(is_blank);
        let name = match self.cursor.peek() {
            Some('"' | '\'') => self.cursor.quoted(false)?,
            Some(c) if is_line_end(c) => {
                return Err(self.cursor.fault("the name of a file must follow include"));
            }
            Some(c) if matches!(c, '[' | '{' | '(' | '-' | '\\') || c.is_ascii_digit() => {
                return Err(self
                    .cursor
                    .fault("quote the name of the file behind include"));
            }
            _ => {
                let name = self.cursor.take_while(|c| {
                    !is_blank(c) && !is_line_end(c) && !matches!(c, ';' | '}' | '\'')
                });
                self.cursor.take('\'');
                name.to_owned()
            }
        };
        let entries = self.included(&name);
        let entries = self.told(start, entries).unwrap_or_default();
        if let Some(block) = self.blocks.last_mut() {
            entries
                .entries
                .into_iter()
                .for_each(|entry| block.insert(entry));
        }
        Ok(())
    }

    fn included(&mut self, name: &str) -> Result<Table, String> {
        if !self.shared.includes {
            return Err("only files can include files".to_owned());
        }
        let path = self.folder.join(name);
        let identity = identity(&path);
        if self.shared.files.contains(&identity) {
            return Err(format!(
                "the file {name:?} includes itself; remove one of the includes"
            ));
        }
        if self.shared.files.len() > MAXIMUM_INCLUDE_DEPTH {
            return Err(format!(
                "files include each other deeper than {MAXIMUM_INCLUDE_DEPTH}"
            ));
        }
        let text = read(&path).map_err(|error| format!("include file {name:?}: {error}"))?;
        self.shared.budget = self
            .shared
            .budget
            .checked_sub(text.len() / 2)
            .ok_or("includes bring in too much")?;
        self.shared.files.push(identity);
        let table = self
            .shared
            .document(&text, &path.display().to_string(), path.parent());
        self.shared.files.pop();
        self.shared
            .spend(&Value::Table(table.clone()), self.depth)?;
        Ok(table)
    }

    /// Records why a variable or an include could not be used.
    fn told<T>(&mut self, mark: Mark, outcome: Result<T, String>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(message) => {
                let diagnostic = Diagnostic::new(&self.place(mark), message);
                self.shared.mistakes.push(diagnostic);
                None
            }
        }
    }

    /// Records a syntax mistake and goes on with the next line, unless the rest of this line opens
    /// or closes something, so that the blocks no longer fit together.
    fn recover<T>(&mut self, outcome: Result<T, Fault>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(fault) => {
                let passed = self.cursor.skip_line();
                let lost = fault.fatal || passed.contains(['{', '}', '[', ']', '(', '"', '\'']);
                let many = self.shared.mistakes.len() >= MAXIMUM_SYNTAX_MISTAKES;
                self.shared.structure_intact &= !lost && !many;
                self.shared.mistakes.push(fault.into_diagnostic(&self.file));
                None
            }
        }
    }

    fn place(&self, mark: Mark) -> Place {
        Place::File {
            file: Arc::clone(&self.file),
            line: mark.line,
            column: mark.column(),
        }
    }
}
