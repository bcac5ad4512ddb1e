#include "codegen/LLVM/Target.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace llvm;
using namespace moe;

static const char *triple = "x86_64-unknown-linux-gnu";

static Expected<CpuTarget> parseCpu(StringRef cpu) {
  CpuTarget target;
  if (cpu.empty() || cpu == "native") {
    target.cpu = sys::getHostCPUName().str();
    for (auto &feature : sys::getHostCPUFeatures()) {
      // AMX state needs permission from the kernel; we never use it.
      if (feature.first().starts_with("amx"))
        continue;
      target.features += (target.features.empty() ? "" : ",");
      target.features += (feature.second ? "+" : "-") + feature.first().str();
    }
  } else {
    target.cpu = cpu.str();
    SmallVector<StringRef> known;
    X86::fillValidCPUArchList(known, /*Only64Bit=*/true);
    if (!is_contained(known, cpu))
      return createStringError("unknown processor '" + cpu +
                               "': known are native, x86-64, x86-64-v2, "
                               "x86-64-v3, x86-64-v4, haswell, "
                               "skylake-avx512, icelake-server, "
                               "sapphirerapids, znver3, znver4, ...");
  }
  std::unique_ptr<TargetMachine> machine = createTargetMachine(target, 2);
  target.avx512 = machine->getMCSubtargetInfo()->checkFeatures("+avx512f") &&
                  machine->getMCSubtargetInfo()->checkFeatures("+avx512vl");
  return target;
}

Expected<Targets> moe::parseTargets(StringRef text) {
  StringRef cpu;
  Targets targets;
  SmallVector<StringRef> parts, seen;
  text.split(parts, ',');
  for (StringRef part : parts) {
    auto [kind, name] = part.split(':');
    bool isGpu = kind == "cuda" && !name.empty();
    if (kind != "cpu" && !isGpu)
      return createStringError(
          "unknown target '" + part +
          "': known are cpu, cpu:native, cpu:x86-64-v3, cpu:x86-64-v4, "
          "processors such as cpu:znver4, and GPUs such as cuda:sm_90a");
    if (is_contained(seen, kind))
      return createStringError("--target names " + kind + " twice");
    seen.push_back(kind);
    if (isGpu)
      targets.cuda = name.str();
    else
      cpu = name;
  }
  Expected<CpuTarget> parsed = parseCpu(cpu);
  if (!parsed)
    return parsed.takeError();
  targets.cpu = std::move(*parsed);
  return targets;
}

std::unique_ptr<TargetMachine> moe::createTargetMachine(const CpuTarget &target,
                                                        unsigned optLevel) {
  static const bool initialized = [] {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
    InitializeNativeTargetAsmParser();
    return true;
  }();
  (void)initialized;
  std::string error;
  const Target *known = TargetRegistry::lookupTarget(Triple(triple), error);
  if (!known)
    return nullptr;
  static const CodeGenOptLevel levels[] = {
      CodeGenOptLevel::None, CodeGenOptLevel::Less, CodeGenOptLevel::Default,
      CodeGenOptLevel::Aggressive};
  TargetOptions options;
  return std::unique_ptr<TargetMachine>(known->createTargetMachine(
      Triple(triple), target.cpu, target.features, options, Reloc::PIC_,
      CodeModel::Small, levels[std::min(optLevel, 3u)]));
}

std::string moe::requiredFeatures(const TargetMachine &machine) {
  static const char *checked[] = {
      "sse3",     "ssse3",    "sse4.1",   "sse4.2",     "popcnt",
      "avx",      "avx2",     "fma",      "f16c",       "bmi",
      "bmi2",     "lzcnt",    "movbe",    "avx512f",    "avx512bw",
      "avx512cd", "avx512dq", "avx512vl", "avx512vnni", "avx512bf16",
      "avxvnni"};
  std::string list;
  for (const char *feature : checked)
    if (machine.getMCSubtargetInfo()->checkFeatures(std::string("+") + feature))
      list += (list.empty() ? "" : ",") + std::string(feature);
  return list;
}
