# libprle_cuda.so: all GPU code of all rooms, a plugin that libprle.so opens when a GPU is asked for (core/device/plugin.h).
#   prle_gpu_sources(FILE...)   in a room's CMakeLists.txt: its files *_cuda.c *_cuda.cu *_cudnn.c *_cublas.c *_nccl.c
# Does nothing where PRLE_HAS_CUDA is off.
set(PRLE_CUDA AUTO CACHE STRING "Build the GPU plugin: AUTO (where the CUDA toolkit, cuDNN and NCCL are), ON, OFF")
set_property(CACHE PRLE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(PRLE_CUDA_ARCHITECTURES "80-real;86-real;90-real;100-real;80-virtual" CACHE STRING
  "GPUs the plugin is compiled for. PTX (-virtual) must be among them: it serves later GPUs, and tests/cudasim runs it")

set(PRLE_HAS_CUDA OFF)
if(PRLE_SANITIZE) # the simulator catches SIGSEGV and maps half of the address space itself, as sanitizers do
  if(PRLE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "PRLE_CUDA=ON: the GPU plugin is not built with sanitizers; use PRLE_CUDA=OFF or AUTO")
  endif()
elseif(NOT PRLE_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  set(CMAKE_CUDA_ARCHITECTURES ${PRLE_CUDA_ARCHITECTURES}) # before the language: CMake 3.25's default is older than CUDA 13 knows
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)                   # a static one cannot be taken the place of
  check_language(CUDA)
  find_package(CUDAToolkit QUIET)
  find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND AND CUDNN_LIBRARY AND NCCL_LIBRARY)
    set(PRLE_HAS_CUDA ON)
  elseif(PRLE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "PRLE_CUDA=ON: not found: one of nvcc (${CMAKE_CUDA_COMPILER}), cuDNN (${CUDNN_LIBRARY}), NCCL (${NCCL_LIBRARY})")
  endif()
endif()

if(PRLE_HAS_CUDA)
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)

  add_library(prle_cuda_flags INTERFACE)
  target_include_directories(prle_cuda_flags SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
  # A spill is a warning of ptxas, and an error here. PTX stays readable for the simulator; -lineinfo lets it name lines.
  target_compile_options(prle_cuda_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo$<SEMICOLON>--compress-mode=none$<SEMICOLON>-Xptxas=-warn-spills,-Werror$<SEMICOLON>-Werror=all-warnings$<SEMICOLON>-Xcompiler=-Wall>)
  target_link_libraries(prle_cuda_flags INTERFACE prle_flags prle::openmp CUDA::cudart CUDA::cublas ${CUDNN_LIBRARY} ${NCCL_LIBRARY})

  add_library(prle_cuda_objects OBJECT)
  target_link_libraries(prle_cuda_objects PUBLIC prle_cuda_flags)
endif()

function(prle_gpu_sources)
  if(PRLE_HAS_CUDA)
    list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE files)
    target_sources(prle_cuda_objects PRIVATE ${files})
  endif()
endfunction()

# prle_gpu_exact(FILE...): products and sums are not contracted there: + - * / sqrt give the processor's bits.
function(prle_gpu_exact)
  if(PRLE_HAS_CUDA)
    list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE files)
    set_source_files_properties(${files} TARGET_DIRECTORY prle_cuda_objects PROPERTIES COMPILE_OPTIONS --fmad=false)
  endif()
endfunction()

# After all rooms and libprle.so: the plugin, of which only prle_cuda_plugin is seen from outside.
function(prle_cuda_plugin)
  if(PRLE_HAS_CUDA)
    add_library(prle_cuda SHARED core/device/plugin_cuda.c $<TARGET_OBJECTS:prle_cuda_objects>)
    set_source_files_properties(core/device/plugin_cuda.c PROPERTIES COMPILE_DEFINITIONS "PRLE_GIT_REVISION=\"${PRLE_REVISION}\"")
    set_target_properties(prle_cuda PROPERTIES LINKER_LANGUAGE C LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH ON
      LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/prle_cuda.map)
    target_link_libraries(prle_cuda PRIVATE prle_cuda_flags prle_shared)
    target_link_options(prle_cuda PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/prle_cuda.map -Wl,--no-undefined)
    install(TARGETS prle_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
endfunction()
