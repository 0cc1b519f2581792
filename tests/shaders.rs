//! Every shader as the ops dispatch it: reflected against the host side's bindings and parameters, held to the limits that
//! every adapter offers, and translated to the languages of Vulkan, Metal and DX12. No GPU is needed.

mod instances;
mod training;

use instances::cases;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};
use std::collections::BTreeSet;
use steepest::base::Type;
use steepest::graph::{Bind, Dispatch, Needs, Op, Scalar, Shader, Target};
use steepest::ops::pointwise::{Arg, Code, Fun, Pointwise};
use steepest::ops::shaders;
use steepest::plan::{Bundle, Limits};

const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 * 1024;
const MAX_INVOCATIONS: u32 = 256;

/// The fields of the step's uniform block, as the executors fill it.
const STEP: [(&str, ScalarKind); 8] = [
    ("step", ScalarKind::Uint),
    ("micro", ScalarKind::Uint),
    ("first_row", ScalarKind::Uint),
    ("rows", ScalarKind::Uint),
    ("t", ScalarKind::Uint),
    ("lr", ScalarKind::Float),
    ("bias_correction1", ScalarKind::Float),
    ("bias_correction2", ScalarKind::Float),
];

fn parse(source: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    // Only what says that it needs subgroups may use them.
    let mut abilities =
        if source.contains("subgroup_invocation_id") { Capabilities::SUBGROUP } else { Capabilities::empty() };
    // Only what says that it has half precision may.
    abilities.set(Capabilities::SHADER_FLOAT16, source.starts_with("enable f16;"));
    let info =
        Validator::new(ValidationFlags::all(), abilities).validate(&module).map_err(|e| e.emit_to_string(source))?;
    Ok((module, info))
}

/// Compares a shader's text with the dispatch that runs it.
fn check(source: &str, dispatch: &Dispatch) -> Result<(), String> {
    let (module, info) = parse(source)?;
    let entries: Vec<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
    if entries != [dispatch.shader.entry] {
        return Err(format!("entry points {entries:?}, the dispatch names {}", dispatch.shader.entry));
    }
    bindings(&module, &info, dispatch)?;
    limits(&module, dispatch)?;
    translate(&module, &info, dispatch.shader.entry)
}

fn bindings(module: &Module, info: &ModuleInfo, dispatch: &Dispatch) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (handle, global) in module.global_variables.iter() {
        let Some(at) = &global.binding else { continue };
        let name = global.name.as_deref().unwrap_or("?");
        seen.insert((at.group, at.binding));
        match (at.group, at.binding, global.space) {
            (0, 0, AddressSpace::Uniform) => {
                let kind = |scalar: &Scalar| match scalar {
                    Scalar::U32(_) => ScalarKind::Uint,
                    Scalar::F32(_) => ScalarKind::Float,
                };
                let wanted: Vec<_> = dispatch.params.iter().map(|(name, scalar)| (*name, kind(scalar))).collect();
                members(module, global.ty, &wanted)?;
            }
            (1, 0, AddressSpace::Uniform) => members(module, global.ty, &STEP)?,
            (0, binding, AddressSpace::Storage { access }) => {
                let bind = dispatch.binds.get(binding as usize - 1).ok_or(format!("{name}: nothing is bound to it"))?;
                let wanted = match bind {
                    Bind::In(_) => StorageAccess::LOAD,
                    Bind::Out(_) | Bind::Scratch(_) => StorageAccess::LOAD | StorageAccess::STORE,
                };
                if access != wanted {
                    return Err(format!("{name} has access {access:?}, the dispatch binds {bind:?}"));
                }
                if info.get_entry_point(0)[handle].is_empty() {
                    return Err(format!("{name} is never used"));
                }
            }
            other => return Err(format!("{name} is bound in an unknown way: {other:?}")),
        }
    }
    let wanted: BTreeSet<_> = (0..=dispatch.binds.len() as u32).map(|binding| (0, binding)).collect();
    let own: BTreeSet<_> = seen.into_iter().filter(|at| at.0 == 0).collect();
    if own != wanted {
        return Err(format!("bindings {own:?}, the dispatch has {wanted:?}"));
    }
    Ok(())
}

/// Checks the names, kinds and offsets of a uniform block's members.
fn members(module: &Module, ty: naga::Handle<naga::Type>, wanted: &[(&str, ScalarKind)]) -> Result<(), String> {
    let TypeInner::Struct { members, .. } = &module.types[ty].inner else {
        return Err("the uniform is no struct".to_owned());
    };
    let mut found = Vec::new();
    for member in members {
        let TypeInner::Scalar(scalar) = module.types[member.ty].inner else {
            return Err(format!("{:?} is no scalar", member.name));
        };
        if scalar.width != 4 {
            return Err(format!("{:?} is {} bytes wide", member.name, scalar.width));
        }
        found.push((member.name.as_deref().unwrap_or("?"), scalar.kind, member.offset));
    }
    let wanted: Vec<_> = wanted.iter().enumerate().map(|(i, &(name, kind))| (name, kind, 4 * i as u32)).collect();
    if found == wanted { Ok(()) } else { Err(format!("parameters {found:?}, the dispatch has {wanted:?}")) }
}

/// What a shader asks of a device.
fn needs(module: &Module) -> Needs {
    let shared = module.global_variables.iter().filter(|(_, global)| global.space == AddressSpace::WorkGroup);
    let entry = &module.entry_points[0];
    let lane = naga::Binding::BuiltIn(naga::BuiltIn::SubgroupInvocationId);
    Needs {
        workgroup_bytes: shared.map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx())).sum(),
        threads: entry.workgroup_size.iter().product(),
        subgroups: entry.function.arguments.iter().any(|argument| argument.binding.as_ref() == Some(&lane)),
    }
}

fn limits(module: &Module, dispatch: &Dispatch) -> Result<(), String> {
    let storage = |space: &AddressSpace| matches!(space, AddressSpace::Storage { .. });
    let buffers = module.global_variables.iter().filter(|(_, global)| storage(&global.space)).count();
    if buffers > MAX_STORAGE_BUFFERS {
        return Err(format!("{buffers} storage buffers"));
    }
    let Needs { workgroup_bytes: bytes, threads: invocations, .. } = needs(module);
    if bytes > MAX_WORKGROUP_BYTES {
        return Err(format!("{bytes} bytes of workgroup memory"));
    }
    if invocations > MAX_INVOCATIONS {
        return Err(format!("{invocations} invocations"));
    }
    if dispatch.workgroups.iter().any(|&n| n == 0 || n > Dispatch::MAX_WORKGROUPS) {
        return Err(format!("workgroups {:?}", dispatch.workgroups));
    }
    Ok(())
}

fn translate(module: &Module, info: &ModuleInfo, entry: &str) -> Result<(), String> {
    LANGUAGES.iter().try_for_each(|(language, translate)| {
        let names = translate(module, info).map_err(|e| format!("{language}: {e}"))?;
        if names.iter().any(|name| name.contains(entry)) { Ok(()) } else { Err(format!("{language} lacks {entry}")) }
    })
}

/// A translation, checked to hold the entry points whose names it gives.
type Translate = fn(&Module, &ModuleInfo) -> Result<Vec<String>, String>;

const LANGUAGES: [(&str, Translate); 3] = [("SPIR-V", spirv), ("MSL", msl), ("HLSL", hlsl)];

fn spirv(module: &Module, info: &ModuleInfo) -> Result<Vec<String>, String> {
    let options = naga::back::spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = naga::back::spv::write_vec(module, info, &options, None).map_err(|e| e.to_string())?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(vec![text])
}

fn msl(module: &Module, info: &ModuleInfo) -> Result<Vec<String>, String> {
    use naga::back::msl::{Options, PipelineOptions, write_string};
    let options = Options { lang_version: (2, 4), ..Default::default() };
    let (text, translated) =
        write_string(module, info, &options, &PipelineOptions::default()).map_err(|e| e.to_string())?;
    let names = translated.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    Ok(names.into_iter().filter(|name| text.contains(&format!("kernel void {name}("))).collect())
}

fn hlsl(module: &Module, info: &ModuleInfo) -> Result<Vec<String>, String> {
    use naga::back::hlsl::{Options, PipelineOptions, ShaderModel, Writer};
    let options = Options { shader_model: ShaderModel::V6_2, ..Options::default() };
    let (pipeline, mut text) = (PipelineOptions::default(), String::new());
    let written = Writer::new(&mut text, &options, &pipeline).write(module, info, None).map_err(|e| e.to_string())?;
    let names = written.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    Ok(names.into_iter().filter(|name| text.contains(&format!("void {name}("))).collect())
}

fn check_dispatch(dispatch: &Dispatch) -> Result<(), String> {
    check(&shaders::source(&dispatch.shader).map_err(|e| e.to_string())?, dispatch)
}

#[test]
fn every_shader_fits_its_dispatch_and_translates() {
    let mut checked = BTreeSet::new();
    for case in cases::all() {
        for (way, work) in case.ways() {
            assert!(!work.dispatches.is_empty(), "{}: no dispatch", case.name());
            for dispatch in &work.dispatches {
                let names: Vec<&str> = dispatch.params.iter().map(|param| param.0).collect();
                for bind in &dispatch.binds {
                    if let Bind::Scratch(i) = bind {
                        assert!(work.scratch.len() > *i, "{}: no scratch buffer {i}", case.name());
                    }
                }
                if checked.insert((dispatch.shader.clone(), names.len(), dispatch.binds.len())) {
                    check_dispatch(dispatch).unwrap_or_else(|e| panic!("{} by {way:?}: {e}", case.name()));
                }
            }
            if let Some(way) = way {
                let (module, _) = parse(&shaders::source(&work.dispatches[0].shader).unwrap()).unwrap();
                assert_eq!(needs(&module), way.needs, "{}", way.name);
            }
        }
    }
    println!("{} shaders", checked.len());
    assert!(checked.len() > 100, "only {} shaders: cases are missing", checked.len());
}

/// Several kernels as one: their bindings are those of the bundle, and they are held to the same limits.
fn check_bundle(bundle: &Bundle, source: &str) -> Result<(), String> {
    let (module, info) = parse(source)?;
    for (handle, global) in module.global_variables.iter() {
        let (Some(at), AddressSpace::Storage { access }) = (&global.binding, global.space) else { continue };
        let bound = bundle.bounds.get(at.binding as usize - 1).ok_or("nothing is bound to it")?;
        if access.contains(StorageAccess::STORE) != bound.written {
            return Err(format!("{:?} has access {access:?}", global.name));
        }
        if info.get_entry_point(0)[handle].is_empty() {
            return Err(format!("{:?} is never used", global.name));
        }
    }
    let uniform = module.global_variables.iter().find(|(_, global)| global.name.as_deref() == Some("bundle"));
    let (_, uniform) = uniform.ok_or("no parameters")?;
    let TypeInner::Struct { members, span } = &module.types[uniform.ty].inner else { return Err("no struct".into()) };
    let words = bundle.params().len() as u32;
    let last = members.last().ok_or("no members")?;
    let end = last.offset + module.types[last.ty].inner.size(module.to_ctx());
    if end != 4 * words || *span != end.next_multiple_of(16) {
        return Err(format!("the block ends at byte {end}, the host has {words} words"));
    }
    limits(&module, &bundle.parts[0].dispatch)?;
    translate(&module, &info, steepest::ops::merge::ENTRY)
}

/// Bundles of a device with subgroups of 32 threads, or with none, of a run in single precision, and of one whose kernels have
/// half precision.
fn bundles(subgroups: bool) -> Vec<Bundle> {
    ["f32", "mixed"].into_iter().flat_map(|precision| bundles_in(precision, subgroups)).collect()
}

fn bundles_in(precision: &str, subgroups: bool) -> Vec<Bundle> {
    let target = Target { subgroups: subgroups.then_some([32; 2]), ..Target::default() };
    let config = training::config(&format!(
        "train.precision = '{precision}'\nmodel.layers = [{{ kind = 'linear', out = 40 }}, 'relu', {{ kind = 'linear', out = 24 }}, 'tanh', \
         {{ kind = 'dropout', p = 0.2 }}, {{ kind = 'linear', out = 10 }}]\nprobes.preset = 'full'",
    ));
    let trainer = training::on_cpu::<f32>(&config, steepest::data::digits().unwrap(), 1);
    let bundles = trainer.blueprint().plans().flat_map(|plan| plan.bundles(&target, Limits::LEAST).unwrap());
    bundles.filter(|bundle| bundle.parts.len() > 1).collect()
}

#[test]
fn bundled_shaders_fit_and_translate() {
    let (bundles, with_subgroups) = (bundles(false), bundles(true));
    println!("{} bundles", bundles.len());
    assert!(bundles.len() > 8);
    let has_half = |bundle: &&Bundle| bundle.source().unwrap().0.starts_with("enable f16;");
    assert!(bundles.iter().filter(has_half).count() > 4);
    for bundle in bundles.iter().chain(&with_subgroups) {
        let (source, _) = bundle.source().unwrap();
        check_bundle(bundle, &source).unwrap_or_else(|e| panic!("{e}\n{source}"));
    }
    // Subgroups change nothing of what runs as one.
    let steps = |bundles: &[Bundle]| -> Vec<Vec<usize>> {
        bundles.iter().map(|bundle| bundle.parts.iter().map(|part| part.step).collect()).collect()
    };
    assert_eq!(steps(&bundles), steps(&with_subgroups));
    let uses = |bundle: &Bundle| bundle.source().unwrap().0.contains("subgroupShuffleXor");
    let used = [&bundles, &with_subgroups].map(|bundles| bundles.iter().filter(|bundle| uses(bundle)).count());
    assert!(used[0] == 0 && used[1] > 4, "{used:?} of {} bundles use subgroups", bundles.len());
    // Each check finds a fault.
    let (bundle, (source, _)) = (&bundles[0], bundles[0].source().unwrap());
    assert!(check_bundle(bundle, &source.replace("var<storage, read>", "var<storage, read_write>")).is_err());
    assert!(
        check_bundle(bundle, &source.replacen("    end0: u32,", "    end0: u32, a: u32, b: u32, c: u32, d: u32,", 1))
            .is_err()
    );
    let mut fewer = bundle.clone();
    fewer.bounds.pop();
    assert!(check_bundle(&fewer, &source).unwrap_err().contains("nothing is bound"));
}

/// Every op with an empty output dispatches nothing.
#[test]
fn nothing_is_dispatched_for_nothing() {
    let op = Pointwise { code: Code::single(Fun::Neg, &[Arg::In(0)]), shape: [0, 3].into() };
    let ty = Type::real([0, 3]);
    assert!(op.gpu(&[ty], &[ty]).dispatches.is_empty());
}

/// Workgroups past the most along x go on in y.
#[test]
fn many_workgroups_are_folded() {
    let op = Pointwise { code: Code::single(Fun::Neg, &[Arg::In(0)]), shape: [20_000_000].into() };
    let ty = Type::real([20_000_000]);
    let work = op.gpu(&[ty], &[ty]);
    assert_eq!(work.dispatches[0].workgroups, [65_535, 2, 1]);
}

fn sample() -> Dispatch {
    let op = steepest::ops::dropout::Dropout { p: 0.5, key: [1, 2] };
    let ty = Type::real([3, 5]);
    op.gpu(&[ty], &[ty]).dispatches.remove(0)
}

/// Each check finds a deliberate fault.
#[test]
fn corrupted_dispatches_are_found() {
    let whole = sample();
    assert_eq!(check_dispatch(&whole), Ok(()));
    let corrupt = |change: fn(&mut Dispatch)| {
        let mut dispatch = whole.clone();
        change(&mut dispatch);
        check_dispatch(&dispatch).expect_err("a corrupted dispatch passes")
    };
    assert!(corrupt(|d| d.binds.truncate(1)).contains("nothing is bound"));
    assert!(corrupt(|d| d.binds.push(Bind::In(1))).contains("bindings"));
    assert!(corrupt(|d| d.binds.reverse()).contains("access"));
    assert!(corrupt(|d| d.params.swap(0, 1)).contains("parameters"));
    assert!(corrupt(|d| _ = d.params.pop()).contains("parameters"));
    assert!(corrupt(|d| d.params[0].1 = Scalar::F32(3.0)).contains("parameters"));
    assert!(corrupt(|d| d.workgroups[0] = 65_536).contains("workgroups"));
    assert!(corrupt(|d| d.shader.entry = "drop_out").contains("entry points"));
    assert!(corrupt(|d| d.shader = Shader::plain("drop_out", "dropout")).contains("drop_out.wgsl"));
}

#[test]
fn corrupted_shaders_are_found() {
    let whole = sample();
    let source = shaders::source(&whole.shader).unwrap();
    let corrupt = |from: &str, to: &str| {
        let changed = source.replace(from, to);
        assert_ne!(source, changed, "{from} is not in the shader");
        check(&changed, &whole).expect_err("a corrupted shader passes")
    };
    assert!(corrupt("workgroup_size(256)", "workgroup_size(512)").contains("invocations"));
    assert!(corrupt("first_row: u32", "first_line: u32").contains("first_row"));
    assert!(corrupt("@binding(2)", "@binding(3)").contains("nothing is bound"));
    assert!(corrupt("width: u32,", "width: vec2<u32>,").contains("rror"));
    assert!(corrupt("x[at] * params.keep", "params.keep").contains("never used"));
    let memory = format!("{source}\nvar<workgroup> large: array<f32, 4097>;\n");
    assert!(check(&memory, &whole).unwrap_err().contains("workgroup memory"));
    let buffers: String =
        (3..10).map(|i| format!("@group(0) @binding({i}) var<storage, read> more{i}: array<f32>;\n")).collect();
    let mut many = whole.clone();
    many.binds.extend((0..7).map(|i| Bind::In(i + 1)));
    let uses: String = (3..10).map(|i| format!(" + more{i}[0]")).collect();
    let used = source.replace("x[at] * params.keep", &format!("(x[at]{uses})"));
    assert!(check(&format!("{used}\n{buffers}"), &many).unwrap_err().contains("storage buffers"));
}

/// Each language refuses something, or would be found to lack an entry point.
#[test]
fn translations_that_fail_are_found() {
    let source = shaders::source(&sample().shader).unwrap();
    let (module, info) = parse(&source).unwrap();
    assert_eq!(translate(&module, &info, "dropout"), Ok(()));
    for (language, names) in LANGUAGES {
        let wrong = names(&module, &info).unwrap().iter().any(|name| name.contains("drop_out"));
        assert!(!wrong, "{language} has no such entry point");
    }
    assert!(translate(&module, &info, "drop_out").unwrap_err().contains("lacks drop_out"));
    // Neither Metal nor DX12 inverts a matrix. WGSL does not say it either, so it is put into what was parsed.
    let with_matrix =
        source.replace("x[at] * params.keep", "determinant(transpose(mat2x2<f32>(x[at], 0.0, 0.0, 1.0)))");
    let (mut module, _) = parse(&with_matrix).unwrap();
    for (_, expression) in module.functions.iter_mut().flat_map(|(_, function)| function.expressions.iter_mut()) {
        if let naga::Expression::Math { fun, .. } = expression
            && *fun == naga::MathFunction::Transpose
        {
            *fun = naga::MathFunction::Inverse;
        }
    }
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
    assert!(translate(&module, &info, "dropout").unwrap_err().starts_with("MSL: "));
    assert!(spirv(&module, &info).is_ok() && hlsl(&module, &info).is_err());
}
