import org.jetbrains.kotlin.gradle.tasks.KotlinJvmCompile

plugins {
    alias(libs.plugins.android.library)
    `maven-publish`
}

// AGP 9 compiles Kotlin by itself and refuses the plugin.
if (libs.versions.agp.get().substringBefore('.').toInt() < 9) {
    apply(plugin = libs.plugins.kotlin.android.get().pluginId)
}

android {
    namespace = "mnet.work"
    compileSdk = libs.versions.compileSdk.get().toInt()
    defaultConfig {
        minSdk = libs.versions.minSdk.get().toInt()
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
    publishing {
        singleVariant("release") {
            withSourcesJar()
        }
    }
}

tasks.withType<KotlinJvmCompile>().configureEach {
    compilerOptions {
        freeCompilerArgs.add("-Xexplicit-api=strict")
    }
}

publishing {
    publications.register<MavenPublication>("library") {
        artifactId = "mnet-work"
        // The component is there when the variants are.
        afterEvaluate { from(components["release"]) }
    }
}

dependencies {
    api(project(":coroutines"))
    api(libs.work)
}
