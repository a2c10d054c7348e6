//! Command line.

use std::net::SocketAddr;

pub(crate) const HELP: &str = "\
Loads a SIP gateway with phones and plays the AI engine behind it; see docs/benchmarks.md.

  --target HOST:PORT    SIP address of the gateway (UDP)              127.0.0.1:5066
  --to USER             user part of the request URI                   1000
  --engine HOST:PORT    where the echo engine listens                  127.0.0.1:9666
  --sip HOST:PORT       the phones' SIP address                        127.0.0.1:5076
  --rtp-base PORT       first RTP port of the phones, two a call       40000
  --calls N             steady mode: N calls at a time                 100
  --ramp R              calls started a second                         40
  --setups R            set-up mode instead: R calls a second, each held --hold seconds
  --hold S              1
  --settle S            seconds between the last start and the window  3
  --window S            seconds measured                               15
  --watch PID           process whose processor time and memory are reported
  --label TEXT          copied into the result
  --json                the result as JSON on standard output
";

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) target: SocketAddr,
    pub(crate) to: String,
    pub(crate) engine: SocketAddr,
    pub(crate) sip: SocketAddr,
    pub(crate) rtp_base: u16,
    pub(crate) calls: usize,
    pub(crate) ramp: f64,
    pub(crate) setups: Option<f64>,
    pub(crate) hold: f64,
    pub(crate) settle: f64,
    pub(crate) window: f64,
    pub(crate) watch: Option<u32>,
    pub(crate) label: String,
    pub(crate) json: bool,
}

impl Options {
    /// Reads the arguments; the error is a sentence for the user.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            target: ([127, 0, 0, 1], 5066).into(),
            to: "1000".into(),
            engine: ([127, 0, 0, 1], 9666).into(),
            sip: ([127, 0, 0, 1], 5076).into(),
            rtp_base: 40_000,
            calls: 100,
            ramp: 40.0,
            setups: None,
            hold: 1.0,
            settle: 3.0,
            window: 15.0,
            watch: None,
            label: String::new(),
            json: false,
        };
        while let Some(name) = arguments.next() {
            if name == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            options.set(&name, &value)?;
        }
        if options.calls == 0 || options.calls > crate::marker::MAX_CALLS {
            return Err(format!("--calls must lie in 1 to {}", crate::marker::MAX_CALLS));
        }
        if options.phones() * 2 > usize::from(u16::MAX - options.rtp_base) {
            return Err("not enough ports above --rtp-base for so many calls".into());
        }
        Ok(options)
    }

    /// Phones needed: in set-up mode a call may linger for a second after its BYE.
    pub(crate) fn phones(&self) -> usize {
        match self.setups {
            None => self.calls,
            Some(rate) => ((rate * (self.hold + 3.0)).ceil() as usize).clamp(1, crate::marker::MAX_CALLS),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        fn read<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
            value.parse().map_err(|_| format!("{name} cannot be {value:?}"))
        }
        match name {
            "--target" => self.target = read(name, value)?,
            "--to" => value.clone_into(&mut self.to),
            "--engine" => self.engine = read(name, value)?,
            "--sip" => self.sip = read(name, value)?,
            "--rtp-base" => self.rtp_base = read::<u16>(name, value)? & !1,
            "--calls" => self.calls = read(name, value)?,
            "--ramp" => self.ramp = read::<f64>(name, value)?.max(0.1),
            "--setups" => self.setups = Some(read::<f64>(name, value)?.max(0.1)),
            "--hold" => self.hold = read(name, value)?,
            "--settle" => self.settle = read(name, value)?,
            "--window" => self.window = read::<f64>(name, value)?.max(0.5),
            "--watch" => self.watch = Some(read(name, value)?),
            "--label" => value.clone_into(&mut self.label),
            _ => return Err(format!("{name} is not an option; --help lists them")),
        }
        Ok(())
    }
}
