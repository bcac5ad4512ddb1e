#include "tools/moe-bench/GpuKernels.h"

#include "runtime/Core/File.h"
#include "tools/moe-bench/GpuModels.h"
#include "tools/moe-bench/LayerFiles.h"

#include <cstdio>

using namespace moe;
using namespace moe::bench;
using rt::Result, rt::Status;

static Result<std::string> textOf(const std::string &path) {
  auto file = rt::readFile(path);
  if (!file)
    return file.error();
  return std::string(file->view());
}

static std::string ptxName(const LayerShape &shape, const std::string &arch) {
  return "/" + shape.name + "-" + arch + ".ptx";
}

static Result<std::string> makePtx(const Options &options,
                                   const LayerShape &shape,
                                   const std::string &arch) {
  Options layer = options;
  layer.shape = shape;
  layer.compilerFlags.push_back("--target=cuda:" + arch);
  std::string why;
  std::string path = makeLayer(LayerWeights(shape, "bf16"), layer, why,
                               "layer-" + arch + ".ptx");
  if (path.empty())
    return {rt::Code::InvalidFile, why};
  return textOf(path);
}

Result<std::string> moe::bench::layerPtx(const Options &options,
                                         const LayerShape &shape,
                                         const std::string &arch) {
  return options.kernels.empty()
             ? makePtx(options, shape, arch)
             : textOf(options.kernels + ptxName(shape, arch));
}

static Status makeFile(const Options &options, const LayerShape &shape,
                       const std::string &arch) {
  auto ptx = makePtx(options, shape, arch);
  if (!ptx)
    return ptx.error();
  auto file =
      rt::OutputFile::create(options.makeKernels + ptxName(shape, arch));
  if (!file)
    return file.error();
  (*file)->write(*ptx);
  return (*file)->commit();
}

int moe::bench::runMakeKernels(const Options &options) {
  for (const GpuModel &model : gpuModels(options))
    for (const char *arch : {"sm_80", "sm_90a"}) {
      if (!options.arch.empty() && options.arch != arch)
        continue;
      Status status = makeFile(options, model.shape, arch);
      if (status.ok())
        continue;
      fprintf(stderr, "moe-bench: error: %s\n", status.message.c_str());
      return 1;
    }
  return 0;
}
