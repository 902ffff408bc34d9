# Every library from outside, as a target prle::NAME.
find_package(PkgConfig REQUIRED)

find_package(MPI REQUIRED COMPONENTS C)
add_library(prle::mpi ALIAS MPI::MPI_C)

find_package(OpenMP REQUIRED COMPONENTS C)
add_library(prle::openmp ALIAS OpenMP::OpenMP_C)

# Debian's dnnl-config.cmake insists on OpenCL's headers, which the CPU engine does not use: take header and library as they are.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(prle::dnnl UNKNOWN IMPORTED)
set_target_properties(prle::dnnl PROPERTIES IMPORTED_LOCATION ${DNNL_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR})

find_package(Threads REQUIRED)

foreach(pair IN ITEMS hdf5:hdf5-serial turbojpeg:libturbojpeg png:libpng yaml:yaml-0.1 jansson:jansson)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 name)
  list(GET pair 1 module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${module})
  add_library(prle::${name} ALIAS PkgConfig::${name})
endforeach()
