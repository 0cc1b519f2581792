use steepest::config::Config;
fn main() {
    let mut config = Config::builtin_digits();
    let args: Vec<String> = std::env::args().skip(1).collect();
    config.set_all(args.iter().map(String::as_str).collect::<Vec<_>>().as_slice()).unwrap();
    match steepest::run::train(&config, &Default::default(), &mut steepest::run::Silent) {
        Ok(end) => println!("{:#?} {:#?}", end.summary, end.layers),
        Err(e) => println!("error: {e}"),
    }
}
